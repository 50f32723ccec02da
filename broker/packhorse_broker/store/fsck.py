"""Checks that records and indexes agree, and mends indexes that do not.

Indexes follow from records (indexes.py), so a finding is an entry that no record asks for or one
that is missing, a part of a job whose record is gone, a unique key whose holder does not hold it,
an outcome that a broker has taken though no group is owed it, or a record that can't be read.
What is found while brokers work may have been a change under way: each finding is looked at
again, the record watched, before it is reported. The bytes that types hold are compared only if
they stood still meanwhile.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Final

from packhorse_broker.jobs.model import Job
from packhorse_broker.store.findings import Finding, Report
from packhorse_broker.store.indexes import Entry, entries, unique_holder
from packhorse_broker.store.keys import ORDER_BYTES, PartitionKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.records import CorruptRecord, decode_job, size_bytes
from packhorse_broker.store.transaction import Lane

PAGE: Final = 500
"""Keys or members that one exchange looks at."""


HOLD: Final = b""
"""Stands for the member where a place is no index but a unique key."""

MAX_LOOKS: Final = 20
"""How often a job is looked at again because it changed meanwhile."""

Place = tuple[bytes, bytes]
"""An index's key, and a member of it."""


class Checker:
    """`check` looks at everything of one partition; `mend` also rewrites indexes from records."""

    def __init__(self, lane: Lane, keys: PartitionKeys) -> None:
        self._lane = lane
        self._keys = keys
        self._nameless: dict[Finding, Argument | None] = {}
        """Names that no job can have, and how to be rid of them."""
        self._summed_bytes: dict[bytes, int] = {}
        """What the jobs of each type hold, by their records."""

    async def check(self, *, mend: bool = False) -> Report:
        """Raises StoreUnavailable."""
        report = Report(0, 0, [])
        self._nameless = {}
        self._summed_bytes = {}
        await self._lane.ask(pack(("WATCH", self._keys.bytes)))
        suspects = await self._suspects(report)
        report.findings += await self._check_sums(mend=mend)
        for job_id, places in sorted(suspects.items()):
            report.findings += await self._examine(job_id, places, mend=mend)
        for finding, repair in self._nameless.items():
            if mend and repair is not None:
                await self._lane.ask(pack(repair))
            report.findings.append(replace(finding, mended=mend and repair is not None))
        return report

    async def _suspects(self, report: Report) -> dict[str, set[Place]]:
        """Jobs with which something may be wrong, and the places that no record may ask for."""
        suspects: dict[str, set[Place]] = {}
        async for ids in self._job_ids():
            report.jobs += len(ids)
            for job_id in await self._disagreeing(ids):
                suspects.setdefault(job_id, set())
        async for key, members in self._index_members():
            report.index_entries += len(members)
            for job_id, member in await self._unfounded(key, members):
                suspects.setdefault(job_id, set()).add((key, member))
        async for key, jobs in self._taken_outcomes():
            for job_id, member in await self._unfounded(key, jobs):
                suspects.setdefault(job_id, set()).add((key, member))
        async for ids in self._part_ids():
            for job_id in await self._without_record(ids):
                suspects.setdefault(job_id, set())
        async for found in self._unfounded_holds():
            for job_id, key in found:
                suspects.setdefault(job_id, set()).add((key, HOLD))
        return suspects

    # -- looking everywhere

    async def _scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        cursor: bytes | int = 0
        pattern = _escaped(prefix) + b"*"
        while True:
            # SCAN tells of no key that has moved to another server: asking for one by name does.
            [[cursor, found], _] = await self._lane.ask(
                pack(("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)),
                pack(("EXISTS", prefix)),
            )
            yield [key for key in found if key.startswith(prefix)]
            if int(cursor) == 0:
                return

    async def _job_ids(self) -> AsyncIterator[list[str]]:
        prefix = self._keys.record("")
        async for found in self._scan(prefix):
            named = [self._name(key[len(prefix) :], "corrupt", key, None) for key in found]
            yield [job_id for job_id in named if job_id is not None]

    async def _part_ids(self) -> AsyncIterator[list[str]]:
        keys = self._keys
        for prefix in (keys.body(""), keys.outcome(""), keys.log(""), keys.attempts("")):
            async for found in self._scan(prefix):
                named = [
                    self._name(key[len(prefix) :], "orphan", key, ("DEL", key)) for key in found
                ]
                yield [job_id for job_id in named if job_id is not None]

    async def _index_members(self) -> AsyncIterator[tuple[bytes, list[bytes]]]:
        async for found in self._index_keys():
            for key in found:
                start = 0
                while True:
                    [members] = await self._lane.ask(pack(("ZRANGE", key, start, start + PAGE - 1)))
                    if not members:
                        break
                    yield key, members
                    start += PAGE

    async def _taken_outcomes(self) -> AsyncIterator[tuple[bytes, list[bytes]]]:
        async for keys in self._scan(self._keys.taken("")):
            for key in keys:
                cursor: bytes | int = 0
                while True:
                    [[cursor, pairs]] = await self._lane.ask(
                        pack(("HSCAN", key, cursor, "COUNT", PAGE))
                    )
                    yield key, pairs[::2]
                    if int(cursor) == 0:
                        break

    async def _index_keys(self) -> AsyncIterator[list[bytes]]:
        keys = self._keys
        prefixes = (
            keys.delayed(""),
            keys.queue(""),
            keys.started(""),
            keys.complete(""),
            keys.failed(""),
            keys.claims(""),
            keys.handlers(""),
            keys.group(""),
            keys.label(""),
        )
        for prefix in prefixes:
            async for found in self._scan(prefix):
                yield found
        yield [keys.pending, keys.timers]

    # -- first look: what might be wrong

    async def _disagreeing(self, ids: list[str]) -> set[str]:
        """Jobs whose record is unreadable or asks for entries or parts that are not there."""
        suspects: set[str] = set()
        asked: list[tuple[str, Entry]] = []
        parts: list[tuple[str, bytes, bool | None]] = []
        holds: list[tuple[str, bytes]] = []
        for job_id, record in (await self._records(ids)).items():
            if isinstance(record, CorruptRecord):
                suspects.add(job_id)
            elif record is not None:
                asked += [(job_id, entry) for entry in entries(self._keys, record)]
                holds += [(job_id, key) for key in self._hold(record)]
                name = record.type.encode()
                self._summed_bytes[name] = self._summed_bytes.get(name, 0) + size_bytes(record)
                parts += [(job_id, key, needed) for key, needed in self._parts(job_id, record)]
        for (job_id, entry), score in zip(
            asked, await self._scores(entry for _, entry in asked), strict=True
        ):
            if score != entry[2]:
                suspects.add(job_id)
        present = await self._lane.ask(*(pack(("EXISTS", key)) for _, key, _ in parts))
        suspects |= {
            job_id
            for (job_id, _, needed), found in zip(parts, present, strict=True)
            if needed is not None and needed != bool(found)
        }
        holders = await self._lane.ask(*(pack(("GET", key)) for _, key in holds))
        suspects |= {
            job_id
            for (job_id, _), holder in zip(holds, holders, strict=True)
            if holder != job_id.encode()
        }
        return suspects

    async def _unfounded(self, key: bytes, members: list[bytes]) -> list[tuple[str, bytes]]:
        """Members of an index, or taken outcomes, whose job's record does not ask for them."""
        named = [
            (job_id, member)
            for member in members
            if (job_id := self._job_of(key, member)) is not None
        ]
        records = await self._records([job_id for job_id, _ in named])
        return [
            (job_id, member)
            for job_id, member in named
            if not _asks_for(self._keys, records[job_id], key, member)
        ]

    async def _unfounded_holds(self) -> AsyncIterator[list[tuple[str, bytes]]]:
        """Unique keys that name a job which does not hold them, but those held for a window."""
        prefix = self._keys.unique("", "")[:-1]
        async for found in self._scan(prefix):
            named: list[tuple[str, bytes]] = []
            for key in found:
                holder, ttl_ms = await self._lane.ask(pack(("GET", key)), pack(("PTTL", key)))
                if holder is not None and ttl_ms < 0:
                    job_id = self._name(holder, "stale", key, ("DEL", key))
                    named += [(job_id, key)] if job_id is not None else []
            records = await self._records([job_id for job_id, _ in named])
            yield [(job_id, key) for job_id, key in named if key not in self._hold(records[job_id])]

    async def _check_sums(self, *, mend: bool) -> list[Finding]:
        """The bytes of each type. They have been watched from the start: if they changed while the
        records were read, nothing can be said of them."""
        key = self._keys.bytes
        [pairs] = await self._lane.ask(pack(("HGETALL", key)))
        held = dict(zip(pairs[::2], map(int, pairs[1::2]), strict=True))
        wrong = sorted(
            name
            for name in held.keys() | self._summed_bytes.keys()
            if held.get(name, 0) != self._summed_bytes.get(name, 0)
        )
        if mend and wrong:
            repairs = [("HSET", key, name, self._summed_bytes.get(name, 0)) for name in wrong]
            still = await self._lane.commit(repairs)
        else:
            [_, still] = await self._lane.ask(pack(("MULTI",)), pack(("EXEC",)))
        if still is None:
            return []
        told = (_finding("wrong_sum", name.decode(errors="replace"), key) for name in wrong)
        return [replace(finding, mended=mend) for finding in told]

    async def _without_record(self, ids: list[str]) -> set[str]:
        records = await self._records(ids)
        return {job_id for job_id, record in records.items() if record is None}

    # -- second look, the record watched

    async def _examine(self, job_id: str, places: set[Place], *, mend: bool) -> list[Finding]:
        """Looks until the record was the same before and after; one that changes all the time is
        being worked on by brokers, and what was seen of it is no finding."""
        for _ in range(MAX_LOOKS):
            findings, repairs, seen = await self._findings(job_id, places)
            if mend and repairs:
                if await self._lane.commit(repairs) is not None:
                    return [_mended(finding) for finding in findings]
                continue
            _, [now] = await self._lane.ask(
                pack(("UNWATCH",)), pack(("MGET", self._keys.record(job_id)))
            )
            if now == seen:
                return findings
        return []

    async def _findings(
        self, job_id: str, places: set[Place]
    ) -> tuple[list[Finding], list[Argument], bytes | None]:
        keys = self._keys
        [data] = await self._lane.watch([keys.record(job_id)])
        try:
            job = decode_job(data) if data is not None else None
        except CorruptRecord:
            return [_finding("corrupt", job_id, keys.record(job_id))], [], data
        findings: list[Finding] = []
        repairs: list[Argument] = []
        expected = entries(keys, job) if job is not None else []
        for (key, member, score), found in zip(expected, await self._scores(expected), strict=True):
            if found != score:
                kind = "missing" if found is None else "wrong_score"
                findings.append(_finding(kind, job_id, key))
                repairs.append(("ZADD", key, score, member))
        await self._check_holds(job_id, job, places, findings, repairs)
        unasked = sorted(
            (key, member)
            for key, member in places
            if member != HOLD and not _asks_for(keys, job, key, member)
        )
        for key, member in unasked:
            look, repair = ("ZSCORE", "ZREM") if not self._is_taken(key) else ("HGET", "HDEL")
            [found] = await self._lane.ask(pack((look, key, member)))
            if found is not None:
                findings.append(_finding("stale", job_id, key))
                repairs.append((repair, key, member))
        await self._check_parts(job_id, job, findings, repairs)
        return findings, repairs, data

    async def _check_holds(
        self,
        job_id: str,
        job: Job | None,
        places: set[Place],
        findings: list[Finding],
        repairs: list[Argument],
    ) -> None:
        """Unique keys: the one that the record holds names it, and no other one does."""
        held = self._hold(job)
        named = {key for key, member in places if member == HOLD}
        for key in sorted(named | set(held)):
            [holder] = await self._lane.watch([key])
            if key in held and holder != job_id.encode():
                findings.append(_finding("missing", job_id, key))
                repairs.append(("SET", key, job_id))
            elif key not in held and holder == job_id.encode():
                findings.append(_finding("stale", job_id, key))
                repairs.append(("DEL", key))

    def _hold(self, job: Job | CorruptRecord | None) -> list[bytes]:
        """The unique key that a job holds by its record, if any."""
        key = unique_holder(self._keys, job) if isinstance(job, Job) else None
        return [key] if key is not None else []

    async def _check_parts(
        self, job_id: str, job: Job | None, findings: list[Finding], repairs: list[Argument]
    ) -> None:
        """Body, outcome and log: there if the record says so, and only then."""
        parts = self._parts(job_id, job)
        present = await self._lane.ask(*(pack(("EXISTS", key)) for key, _ in parts))
        for (key, needed), found in zip(parts, present, strict=True):
            if needed is None:
                continue
            if needed and not found:
                findings.append(_finding("lost", job_id, key))
            elif found and not needed:
                findings.append(_finding("orphan", job_id, key))
                repairs.append(("DEL", key))

    def _parts(self, job_id: str, job: Job | None) -> list[tuple[bytes, bool | None]]:
        """The keys that a job may have beside its record, and whether it has to have them, must
        not, or may (None)."""
        keys = self._keys
        return [
            (keys.body(job_id), job is not None and job.body is None),
            (keys.outcome(job_id), job is not None and job.outcome_apart),
            (keys.log(job_id), job is not None and job.log_end > job.log_first),
            (keys.attempts(job_id), None if job is not None and job.attempt_records else False),
        ]

    # -- reading

    async def _records(self, ids: list[str]) -> dict[str, Job | CorruptRecord | None]:
        if not ids:
            return {}
        [values] = await self._lane.ask(pack(("MGET", *map(self._keys.record, ids))))
        return {
            job_id: _decoded(value) if value is not None else None
            for job_id, value in zip(ids, values, strict=True)
        }

    async def _scores(self, wanted: Iterable[Entry]) -> list[int | None]:
        commands = [pack(("ZSCORE", key, member)) for key, member, _ in wanted]
        if not commands:
            return []
        scores = await self._lane.ask(*commands)
        return [int(float(score)) if score is not None else None for score in scores]

    def _job_of(self, key: bytes, member: bytes) -> str | None:
        in_queue = key.startswith(self._keys.queue(""))
        name = member[ORDER_BYTES:] if in_queue else member
        repair = "HDEL" if self._is_taken(key) else "ZREM"
        return self._name(name, "stale", key, (repair, key, member))

    def _is_taken(self, key: bytes) -> bool:
        """Whether it holds the outcomes of a group that brokers have taken."""
        return key.startswith(self._keys.taken(""))

    def _name(self, name: bytes, kind: str, key: bytes, repair: Argument | None) -> str | None:
        """A job's id from its bytes; what is no id of any job is a finding in itself."""
        try:
            return name.decode()
        except UnicodeDecodeError:
            self._nameless[_finding(kind, repr(name), key)] = repair
            return None


def _asks_for(
    keys: PartitionKeys, record: Job | CorruptRecord | None, key: bytes, member: bytes
) -> bool:
    if not isinstance(record, Job):
        return False
    if any(entry[0] == key and entry[1] == member for entry in entries(keys, record)):
        return True
    owed_by = record.groups if record.state.finished else ()
    return member == record.id.encode() and key in map(keys.taken, owed_by)


def _decoded(data: bytes) -> Job | CorruptRecord:
    try:
        return decode_job(data)
    except CorruptRecord as error:
        return error


def _mended(finding: Finding) -> Finding:
    """What is lost or unreadable can't be made again from the record."""
    return replace(finding, mended=finding.kind not in ("corrupt", "lost"))


def _finding(kind: str, job_id: str, key: bytes) -> Finding:
    return Finding(kind=kind, job=job_id, key=key.decode(errors="replace"))


def _escaped(prefix: bytes) -> bytes:
    """For SCAN's pattern: the braces and colons of keys are plain there, these are not."""
    escaped = prefix
    for special in (b"\\", b"*", b"?", b"["):
        escaped = escaped.replace(special, b"\\" + special)
    return escaped
