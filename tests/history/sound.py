"""A history in which every promise was kept, and ways to make one of it in which one was not."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from tests.history.checker import Evidence
from tests.history.dump import EndedAttempt, StoredJob
from tests.history.history import NS_PER_MS, Asked, Entry, Kind

TOKEN_1, TOKEN_2, TOKEN_3 = "01", "02", "03"
TIMEOUT_MS: Final = 2_000


def entry(ms: int, who: str, kind: Kind, op: str, **fields: Any) -> Entry:
    return Entry(at=ms * NS_PER_MS, who=who, kind=kind, op=op, **fields)


def call(ms: int, who: str, op: str, kind: Kind = "ok", **fields: Any) -> list[Entry]:
    """A request that is settled a millisecond later."""
    told: dict[str, Any] = {
        field: fields.pop(field)
        for field in ("flag", "state", "version", "registered_at")
        if field in fields
    }
    name = f"{who}/{op}/{ms}"
    answered = {**fields, **told}
    if op != "hello":
        answered.pop("number", None)
    return [
        entry(ms, who, "invoke", op, call=name, **fields),
        entry(ms + 1, who, kind, op, call=name, **answered),
    ]


def claim(ms: int, who: str, job: str, token: str, fence: int, attempt: int) -> Entry:
    about: dict[str, Any] = {"job": job, "name": job, "token": token}
    return entry(ms, who, "push", "claim", fence=fence, attempt=attempt, **about)


def outcome(ms: int, who: str, job: str, token: str, finished_at: int, group: str = "") -> Entry:
    about: dict[str, Any] = {"job": job, "state": "COMPLETE", "text": token, "group": group}
    return entry(ms, who, "push", "outcome", finished_at=finished_at, created_at=5, **about)


def failed(ms: int, job: str, code: str = "CANCELLED", attempt: int = 0) -> Entry:
    about: dict[str, Any] = {"job": job, "state": "FAILED", "code": code, "created_at": 5}
    return entry(ms, "ann", "push", "outcome", finished_at=1, attempt=attempt, **about)


ASKED: Final = Asked(attempts=2, delay_ms=50, persistent=True, handle=True)


def sound() -> Evidence:
    """`kept` fails once, is completed, and handled by its creator and the group; `gone` is
    completed, handled, and removed by that."""
    history = [
        *call(0, "ann", "hello", number=TIMEOUT_MS),
        *call(0, "bob", "hello", number=TIMEOUT_MS),
        *call(0, "cat", "hello", number=TIMEOUT_MS),
        *call(10, "ann", "create", job="kept", name="kept", group="g", asked=ASKED),
        claim(70, "bob", "kept", TOKEN_1, 1, 1),
        *call(80, "bob", "log", job="kept", token=TOKEN_1, text="line"),
        *call(90, "bob", "fail", job="kept", token=TOKEN_1, number=35),
        *call(100, "ann", "get", job="kept", state="PENDING", version=4),
        claim(130, "cat", "kept", TOKEN_2, 2, 2),
        *call(140, "cat", "complete", job="kept", token=TOKEN_2, text=TOKEN_2),
        outcome(150, "ann", "kept", TOKEN_2, 500),
        outcome(150, "cat", "kept", TOKEN_2, 500, group="g"),
        *call(160, "ann", "handled", job="kept", finished_at=500),
        *call(160, "cat", "handled", job="kept", finished_at=500, group="g"),
        *call(170, "ann", "get", job="kept", state="COMPLETE", version=9),
        *call(200, "ann", "create", job="gone", name="gone", asked=Asked(handle=True)),
        claim(210, "bob", "gone", TOKEN_3, 1, 1),
        *call(220, "bob", "complete", job="gone", token=TOKEN_3, text=TOKEN_3),
        outcome(230, "ann", "gone", TOKEN_3, 600),
        *call(240, "ann", "handled", job="gone", finished_at=600),
        *call(250, "ann", "get", "fail", job="gone", code="not_found"),
    ]
    return Evidence(history=history, jobs={"kept": KEPT})


KEPT: Final = StoredJob(
    id="kept",
    name="kept",
    state="COMPLETE",
    version=9,
    token=TOKEN_2,
    fence=2,
    attempts=2,
    current_attempt=2,
    failed=1,
    created_at=5,
    log=((0, "line"),),
    log_offsets=(0,),
    log_end=1,
    ended=(EndedAttempt(attempt=1, runner="bob", started_at=60, finished_at=90, end="FAILED"),),
)

Plant = Callable[[Evidence], None]


def add(*entries: Entry | Sequence[Entry]) -> Plant:
    def plant(evidence: Evidence) -> None:
        for one in entries:
            evidence.history += [one] if isinstance(one, Entry) else one
        evidence.history.sort(key=lambda line: line.at)

    return plant


def drop(wanted: Callable[[Entry], bool]) -> Plant:
    def plant(evidence: Evidence) -> None:
        before = len(evidence.history)
        evidence.history = [line for line in evidence.history if not wanted(line)]
        assert len(evidence.history) < before

    return plant


def store(job: str = "kept", **fields: Any) -> Plant:
    """What the store has of a job is otherwise."""

    def plant(evidence: Evidence) -> None:
        evidence.jobs[job] = replace(evidence.jobs.get(job, KEPT), **fields)

    return plant


def also_stored(job: str, plant: Plant) -> Plant:
    def both(evidence: Evidence) -> None:
        plant(evidence)
        fields = {"id": job, "name": job, "token": "a1", "fence": 1, "attempts": 1}
        plain = {"current_attempt": 1, "failed": 0, "ended": (), "log": (), "log_offsets": ()}
        store(job, **fields, **plain, log_end=0)(evidence)

    return both


def gone_from_the_store(evidence: Evidence) -> None:
    del evidence.jobs["kept"]


def in_another_partition(evidence: Evidence) -> None:
    evidence.astray.append("kept is in partition 3")


def not_drained(evidence: Evidence) -> None:
    evidence.drained = False


def found_by_fsck(evidence: Evidence) -> None:
    evidence.fsck.append("missing: job kept in an index")


def create(ms: int, kind: Kind = "ok", **fields: Any) -> list[Entry]:
    about: dict[str, Any] = {"name": fields.get("job", ""), "asked": ASKED}
    return call(ms, "ann", "create", kind, **{**about, **fields})
