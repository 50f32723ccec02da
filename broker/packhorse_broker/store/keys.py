"""The names of all keys in the store.

Prefix `ph` by default. Keys of jobs carry their partition's hash tag, {0} and so on, keys of
clients another, so that each transaction stays within one slot of a Cluster. What is set about
types is made in {0} and copied to the others; their schemas, the order of changes and what
happened by the minute are in {0} alone.

    ph:{0}:j:<job>      string  the job's record (records.py)
    ph:{0}:b:<job>      string  its body, where too large for the record
    ph:{0}:o:<job>      string  its outcome, where too large for the record
    ph:{0}:l:<job>      list    its log entries, oldest first
    ph:{0}:a:<job>      list    its ended attempts, oldest first
    ph:{0}:d:<type>     zset    PENDING jobs of a type, by when they are queued
    ph:{0}:q:<type>     zset    QUEUED jobs of a type: order and id, by falling priority
    ph:{0}:s:<type>     zset    STARTED jobs of a type, by started_at
    ph:{0}:c:<type>     zset    COMPLETE jobs of a type, by finished_at
    ph:{0}:f:<type>     zset    FAILED jobs of a type, by finished_at
    ph:{0}:r:<client>   zset    jobs that the client holds as their runner, by started_at
    ph:{0}:h:<client>   zset    jobs that the client handles: by finished_at, 0 before
    ph:{0}:g:<group>    zset    jobs that the group handles: by finished_at, 0 before
    ph:{0}:k:<group>    hash    jobs whose outcome a broker brings to the group, and that broker
    ph:{0}:x:<label>    zset    jobs that have the label, by created_at
    ph:{0}:u:<type>:<k> string  the job that holds a unique key (a zero byte between the two)
    ph:{0}:p            zset    PENDING jobs of all types, by when they are queued
    ph:{0}:t            zset    jobs for which a timeout or their retention is due, by when
    ph:{0}:y:<type>     string  a type's settings: pause, retention, limits
    ph:{0}:z:<type>     string  a type's JSON Schema
    ph:{0}:m:<h>:<type> hash    what happened to a type's jobs in an hour, by minute; for a day
    ph:{0}:types        set     every type that was ever seen
    ph:{0}:configured   zset    types of which something was set, by the number of the change
    ph:{0}:bytes        hash    type -> bytes of bodies and outcomes that its jobs hold
    ph:{0}:actions      list    what was done by hand, oldest first
    ph:{0}:w:<writer>   string  number of the writer's last committed transaction
    ph:{0}:events       channel what changed, for other brokers
    ph:{c}:client:<id>  string  a client's registration
    ph:{c}:alive        zset    registered clients, by when they time out
    ph:{c}:leaving      zset    clients being removed, since when
    ph:{c}:at           hash    client -> its newest connection
    ph:{c}:brokers      zset    running brokers, by when they are given up
    ph:{c}:ran          string  until when some broker ran
    ph:{c}:outages      zset    times in which nobody could do anything, by their ends
    ph:{c}:takes:<b>    string  which types the runners of a broker take, for a few seconds
    ph:{c}:knows:<b>    string  the schema version that a broker knows, for a few seconds
    ph:{c}:store        string  identity and schema version of the store
    ph:{c}:migration    string  how far a change to another schema version is, and who does it
    ph:{c}:w:<writer>   string  as above, for transactions on clients
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

ORDER_BYTES: Final = 7
"""A queue's members start with the job's order, big-endian: microseconds until the year 4253."""


REMEMBERED: Final = 1_024
"""Keys of one kind that are not made anew each time: a type or a client has many jobs."""


def _remembered(start: bytes) -> Callable[[str], bytes]:
    """Makes the key of a name."""

    @lru_cache(REMEMBERED)
    def key(name: str) -> bytes:
        return start + name.encode()

    return key


class ClientKeys:
    """Keys of the clients' registry and of the store itself."""

    def __init__(self, prefix: str) -> None:
        self.base = base = f"{prefix}:{{c}}:".encode()
        self._client = base + b"client:"
        self._writer = base + b"w:"
        self._takes = base + b"takes:"
        self._knows = base + b"knows:"
        self.alive = base + b"alive"
        self.leaving = base + b"leaving"
        self.at = base + b"at"
        self.brokers = base + b"brokers"
        self.ran = base + b"ran"
        self.outages = base + b"outages"
        self.store = base + b"store"
        self.migration = base + b"migration"

    def client(self, client_id: str) -> bytes:
        return self._client + client_id.encode()

    def writer(self, writer_id: str) -> bytes:
        return self._writer + writer_id.encode()

    def takes(self, broker: str) -> bytes:
        return self._takes + broker.encode()

    def knows(self, broker: str) -> bytes:
        return self._knows + broker.encode()


class PartitionKeys:
    """Keys of one partition's jobs. Partitions are counted from 0."""

    def __init__(self, prefix: str, partition: int) -> None:
        self.partition = partition
        self.base = f"{prefix}:{{{partition}}}:".encode()
        self._record = self.base + b"j:"
        self._body = self.base + b"b:"
        self._outcome = self.base + b"o:"
        self._log = self.base + b"l:"
        self._attempts = self.base + b"a:"
        self._unique = self.base + b"u:"
        self._schema = self.base + b"z:"
        self._minutes = self.base + b"m:"
        self._writer = self.base + b"w:"
        # Of types
        self.delayed = _remembered(self.base + b"d:")
        self.queue = _remembered(self.base + b"q:")
        self.started = _remembered(self.base + b"s:")
        self.complete = _remembered(self.base + b"c:")
        self.failed = _remembered(self.base + b"f:")
        self.settings = _remembered(self.base + b"y:")
        # Of clients
        self.claims = _remembered(self.base + b"r:")
        self.handlers = _remembered(self.base + b"h:")
        # Of groups, and of labels
        self.group = _remembered(self.base + b"g:")
        self.taken = _remembered(self.base + b"k:")
        self.label = _remembered(self.base + b"x:")
        self.pending = self.base + b"p"
        self.timers = self.base + b"t"
        self.bytes = self.base + b"bytes"
        self.actions = self.base + b"actions"
        self.types = self.base + b"types"
        self.configured = self.base + b"configured"
        self.events = self.base + b"events"

    def record(self, job_id: str) -> bytes:
        return self._record + job_id.encode()

    def body(self, job_id: str) -> bytes:
        return self._body + job_id.encode()

    def outcome(self, job_id: str) -> bytes:
        return self._outcome + job_id.encode()

    def log(self, job_id: str) -> bytes:
        return self._log + job_id.encode()

    def attempts(self, job_id: str) -> bytes:
        return self._attempts + job_id.encode()

    def unique(self, job_type: str, unique_key: str) -> bytes:
        """Names have no control characters, so that no two pairs have one key."""
        return b"%s%s\0%s" % (self._unique, job_type.encode(), unique_key.encode())

    def schema(self, job_type: str) -> bytes:
        return self._schema + job_type.encode()

    def minutes(self, job_type: str, hour: int) -> bytes:
        """`hour`: counted since the epoch."""
        return b"%s%d:%s" % (self._minutes, hour, job_type.encode())

    def writer(self, writer_id: str) -> bytes:
        return self._writer + writer_id.encode()


def queue_member(order: int, job_id: str) -> bytes:
    """Members with one score are sorted by their bytes: first come, first served."""
    return order.to_bytes(ORDER_BYTES, "big") + job_id.encode()


def order_ms_of(member: bytes) -> int:
    """When the job was queued, in ms since the epoch; of a foreign member any number."""
    return int.from_bytes(member[:ORDER_BYTES], "big") // 1_000


def job_of_member(member: bytes) -> str:
    """Of a member that is none of ours, an id that no job has: one bad entry stops no queue."""
    return member[ORDER_BYTES:].decode(errors="replace")
