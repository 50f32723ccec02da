"""The names of all keys in the store.

Prefix `ph` by default. Keys of jobs carry their partition's hash tag, keys of clients another,
so that each transaction stays within one slot of a cluster.

    ph:{0}:j:<job>      string  the job's record (records.py)
    ph:{0}:b:<job>      string  its body, where too large for the record
    ph:{0}:o:<job>      string  its outcome, where too large for the record
    ph:{0}:l:<job>      list    its log entries, oldest first
    ph:{0}:q:<type>     zset    QUEUED jobs of a type: order and id, score 0
    ph:{0}:s:<type>     zset    STARTED jobs of a type, by started_at
    ph:{0}:c:<type>     zset    COMPLETE jobs of a type, by finished_at
    ph:{0}:f:<type>     zset    FAILED jobs of a type, by finished_at
    ph:{0}:r:<client>   zset    jobs that the client holds as their runner, by started_at
    ph:{0}:h:<client>   zset    jobs that the client handles: by finished_at, 0 before
    ph:{0}:t            zset    jobs for which something is due, by when
    ph:{0}:types        set     every type that was ever seen
    ph:{0}:w:<writer>   string  number of the writer's last committed transaction
    ph:{0}:events       channel what changed, for other brokers
    ph:{c}:client:<id>  string  a client's registration
    ph:{c}:alive        zset    registered clients, by when they time out
    ph:{c}:leaving      zset    clients being removed, since when
    ph:{c}:at           hash    client -> its newest connection
    ph:{c}:brokers      zset    running brokers, by when they are given up
    ph:{c}:store        string  identity and schema version of the store
    ph:{c}:w:<writer>   string  as above, for transactions on clients
"""

from typing import Final

ORDER_BYTES: Final = 7
"""A queue's members start with the job's order, big-endian: microseconds until the year 4253."""


class ClientKeys:
    """Keys of the clients' registry and of the store itself."""

    def __init__(self, prefix: str) -> None:
        base = f"{prefix}:{{c}}:".encode()
        self._client = base + b"client:"
        self._writer = base + b"w:"
        self.alive = base + b"alive"
        self.leaving = base + b"leaving"
        self.at = base + b"at"
        self.brokers = base + b"brokers"
        self.store = base + b"store"

    def client(self, client_id: str) -> bytes:
        return self._client + client_id.encode()

    def writer(self, writer_id: str) -> bytes:
        return self._writer + writer_id.encode()


class PartitionKeys:
    """Keys of one partition's jobs."""

    def __init__(self, prefix: str, partition: int) -> None:
        self.base = f"{prefix}:{{{partition}}}:".encode()
        self._record = self.base + b"j:"
        self._body = self.base + b"b:"
        self._outcome = self.base + b"o:"
        self._log = self.base + b"l:"
        self._queue = self.base + b"q:"
        self._started = self.base + b"s:"
        self._complete = self.base + b"c:"
        self._failed = self.base + b"f:"
        self._claims = self.base + b"r:"
        self._handlers = self.base + b"h:"
        self._writer = self.base + b"w:"
        self.timers = self.base + b"t"
        self.types = self.base + b"types"
        self.events = self.base + b"events"

    def record(self, job_id: str) -> bytes:
        return self._record + job_id.encode()

    def body(self, job_id: str) -> bytes:
        return self._body + job_id.encode()

    def outcome(self, job_id: str) -> bytes:
        return self._outcome + job_id.encode()

    def log(self, job_id: str) -> bytes:
        return self._log + job_id.encode()

    def queue(self, job_type: str) -> bytes:
        return self._queue + job_type.encode()

    def started(self, job_type: str) -> bytes:
        return self._started + job_type.encode()

    def complete(self, job_type: str) -> bytes:
        return self._complete + job_type.encode()

    def failed(self, job_type: str) -> bytes:
        return self._failed + job_type.encode()

    def claims(self, client_id: str) -> bytes:
        return self._claims + client_id.encode()

    def handlers(self, client_id: str) -> bytes:
        return self._handlers + client_id.encode()

    def writer(self, writer_id: str) -> bytes:
        return self._writer + writer_id.encode()


def queue_member(order: int, job_id: str) -> bytes:
    """Members with one score are sorted by their bytes: first come, first served."""
    return order.to_bytes(ORDER_BYTES, "big") + job_id.encode()


def job_of_member(member: bytes) -> str:
    """Of a member that is none of ours, an id that no job has: one bad entry stops no queue."""
    return member[ORDER_BYTES:].decode(errors="replace")
