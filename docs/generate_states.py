"""Keeps the diagram and the tables of `states.md` in step with the state machine, and what
`SPEC.md` says of requests and states.

    python docs/generate_states.py            writes them
    python docs/generate_states.py --check    writes nothing, exits 1 where they differ

They stand between `<!-- generated: ... -->` and `<!-- end -->`. Nothing of them is written down
anywhere else: the machine is walked. From no job at all, every kind of job is created, everything
that can be asked is asked of it at every time that counts, and so on with whatever comes of it,
until nothing new does.
"""

import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias, get_args

import click
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Evict,
    Extend,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    Replace,
    ReportProgress,
    Retry,
    RunnerGone,
    RunNow,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    Applied,
    Expired,
    Job,
    Now,
    Progress,
    Reason,
    Refusal,
    Retention,
    Rules,
    State,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Terms

PAGE: Final = Path(__file__).parent / "states.md"
SPEC: Final = Path(__file__).parent.parent / "protocol" / "SPEC.md"

LIFE: Final = (State.PENDING, State.QUEUED, State.STARTED, State.COMPLETE, State.FAILED)
"""The states in the order in which a job comes to them."""
REMOVED: Final = "removed"
UNCHANGED: Final = "unchanged"
AT_ITS_END: Final = "at its end"
"""Instead of a command, where one ended a job that is not kept."""

_PART: Final = re.compile(
    r"(?P<open><!-- generated: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)",
    re.DOTALL,
)
_RULES: Final = Rules(
    retention=Retention(complete_ms=500, failed_ms=1_000),
    max_log_entries=10,
    max_log_bytes=1_000,
    lost_limit=2,
    cancel_grace_ms=100,
)
_START_MS: Final = 1_000

REQUESTS: Final[dict[str, type[Command]]] = {
    "create": Create,
    "claim": Claim,
    "release": Release,
    "extend": Extend,
    "progress": ReportProgress,
    "log": WriteLog,
    "complete": Complete,
    "fail": Fail,
    "handle": Handle,
    "handled": Handled,
    "cancel": Cancel,
    "retry": Retry,
    "run_now": RunNow,
    "remove": Remove,
}
"""Tag -> the command that its request becomes."""

Pair: TypeAlias = tuple[State | None, type[Command]]


# -- the walk -------------------------------------------------------------------------------


class Walk:
    """What was seen: outcomes by state and command, and the reasons of failed jobs."""

    def __init__(self) -> None:
        self.outcomes: dict[Pair, set[str]] = defaultdict(set)
        """A state afterwards, `removed`, `unchanged`, or a refusal's code."""
        self.moves: dict[tuple[str, str], list[str]] = defaultdict(list)
        """Two states and what leads from the one to the other; `[*]` is no job."""
        self.reasons: dict[tuple[str, State], list[str]] = defaultdict(list)
        """A reason and the state before, and what led to it."""
        self._known: set[object] = set()
        self._ahead: deque[tuple[Job | None, int]] = deque([(None, _START_MS)])
        while self._ahead:
            self._ask_all(*self._ahead.popleft())

    def _ask_all(self, job: Job | None, now_ms: int) -> None:
        for command in _commands(job):
            for moment in {now_ms + 1, *_times(job)}:
                self._ask(job, command, max(moment, now_ms))

    def _ask(self, job: Job | None, command: Command, now_ms: int) -> None:
        decision = decide(job, command, Now(now_ms, now_ms), _RULES)
        state = job.state if job is not None else None
        outcomes = self.outcomes[state, type(command)]
        if isinstance(decision, Refusal):
            outcomes.add(f"`{decision.code}`")
        elif not decision.changed:
            outcomes.add(UNCHANGED)
        else:
            self._note(state, words(type(command)), decision, outcomes)
            if not decision.removed and _kind(decision.job) not in self._known:
                self._known.add(_kind(decision.job))
                self._ahead.append((decision.job, now_ms))

    def _note(
        self, state: State | None, command: str, decision: Applied, outcomes: set[str]
    ) -> None:
        before, after = state.name if state is not None else "[*]", decision.job.state
        if decision.removed and after is state:
            outcomes.add(REMOVED)
            _once(self.moves[before, "[*]"], command)
            return
        outcomes.add(after.name)
        _once(self.moves[before, after.name], command)
        if decision.removed:
            _once(self.moves[after.name, "[*]"], AT_ITS_END)
        if state is not None and decision.job.reason is not None and not state.finished:
            _once(self.reasons[_reason(decision.job), state], command)


def _commands(job: Job | None) -> Iterator[Command]:
    """Everything that can be asked, by those who may and by others."""
    yield from _creations()
    yield from (Replace(create) for create in _creations())
    yield Claim("runner", b"a nonce.")
    held = (job.runner, job.token) if job is not None else (None, None)
    for client, token in (held, ("other", b"another token")):
        yield from _of_runner(client or "nobody", token or b"no token")
    yield from (RunnerGone(client) for client in ("runner", "other"))
    for client in ("handler", "other"):
        yield from (Handle(client), Handled(client), HandlerGone(client))
        yield from (Handle(client, "group"), Handled(client, "group"))
    yield from (Due(), Evict())
    yield from (Cancel("boss"), Cancel("boss", 0), Retry("boss"), RunNow("boss"))
    yield from (Remove("boss"), *(Remove("boss", states=(state,)) for state in State))


def _creations() -> Iterator[Create]:
    plain = Create("job", "type", b"", "maker", fingerprint=b"content")
    timed = Terms(
        backoff=Backoff(Growth.LIST, delays_ms=(10, 0)),
        idle_ms=300,
        run_ms=200,
        total_ms=1_000,
        keep_ms=0,
    )
    yield plain
    yield replace(plain, fingerprint=b"other content")
    yield replace(plain, attempts=3, terms=timed)
    yield replace(plain, attempts=3, delay_ms=50, handler="handler")
    yield replace(plain, attempts=3, persistent=True, group="group")


def _of_runner(client: str, token: bytes) -> Iterator[Command]:
    yield Release(client, token)
    yield TakeBack(client, token)
    yield ReportProgress(client, token, Progress(50, "half"))
    yield WriteLog(client, token, ("line",))
    yield Extend(client, token, 150)
    yield Complete(client, token, b"result")
    yield Fail(client, token, b"error")
    yield Fail(client, token, b"error", retry=False)
    yield Fail(client, token, b"error", retry_in_ms=10)


def _times(job: Job | None) -> list[int]:
    """When time moves the job."""
    return [time for time in (job.delayed_until, due_at(job)) if time] if job is not None else []


def _kind(job: Job) -> object:
    """What tells jobs apart that go different ways: not how often, not when."""
    course = job.course or PLAIN_COURSE
    return (
        (job.state, job.end, job.reason, course.expired, course.cancel is not None),
        (job.handlers, job.groups, job.persistent, job.expires_at > 0),
        (job.terms, job.fence > 0, job.attempts - job.current_attempt > 0),
        (course.run_until > 0, course.total_until > 0, min(job.lost - course.pardoned, 2)),
        (job.fingerprint, job.token is not None),
    )


def _reason(job: Job) -> str:
    assert job.reason is not None
    expired = (job.course or PLAIN_COURSE).expired
    if job.reason is Reason.JOB_TIMEOUT and expired is not Expired.NONE:
        return f"{job.reason.name}, {expired.name.lower()}"
    return job.reason.name


def _once(told: list[str], word: str) -> None:
    if word not in told:
        told.append(word)


def words(command: type[Command]) -> str:
    """The name of a command as it is read: `RunnerGone` is `runner gone`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", command.__name__).lower()


# -- the page -------------------------------------------------------------------------------


def renewed(text: str) -> str:
    """The page with each generated part as the machine has it. Raises KeyError where the page
    asks for one that there is not."""
    walk = Walk()
    parts = {
        "diagram": diagram,
        "commands": commands,
        "reasons": reasons,
        "requests": requests,
    }
    return _PART.sub(
        lambda found: found["open"] + parts[found["name"]](walk) + found["close"], text
    )


def diagram(walk: Walk) -> str:
    """Every way from one state to another, in Mermaid's language."""
    names = [state.name for state in LIFE]
    ways = ((before, after) for before in ("[*]", *names) for after in (*names, "[*]"))
    arrows = (
        f"    {before} --> {after}: {', '.join(walk.moves[before, after])}\n"
        for before, after in ways
        if before != after and (before, after) in walk.moves
    )
    return f"```mermaid\nstateDiagram-v2\n{''.join(arrows)}```\n"


def commands(walk: Walk) -> str:
    """What each command can make of a job in each state."""
    told = {words(command): command for command in get_args(Command)}
    return _outcomes("Command", told, walk)


def requests(walk: Walk) -> str:
    """The same of what clients ask for, under the names that it has on the wire."""
    return _outcomes("Request", {f"`{tag}`": command for tag, command in REQUESTS.items()}, walk)


def _outcomes(title: str, told: dict[str, type[Command]], walk: Walk) -> str:
    rows = [
        [name, *(_cell(walk.outcomes[state, command]) for state in (None, *LIFE))]
        for name, command in told.items()
    ]
    return _table([title, "no job", *(state.name for state in LIFE)], rows)


def _cell(outcomes: set[str]) -> str:
    rank = {name: place for place, name in enumerate([*(s.name for s in LIFE), REMOVED])}
    return ", ".join(sorted(outcomes, key=lambda outcome: (rank.get(outcome, len(rank)), outcome)))


def reasons(walk: Walk) -> str:
    """Why a job is FAILED, and from where it came to that by which commands."""
    states = [state for state in LIFE if not state.finished]
    rows = [
        [reason, *(", ".join(walk.reasons.get((reason, state), ["-"])) for state in states)]
        for reason in sorted({reason for reason, _ in walk.reasons}, key=_rank)
    ]
    return _table(["Reason", *(state.name for state in states)], rows)


def _rank(reason: str) -> tuple[int, str]:
    return Reason[reason.partition(",")[0]], reason


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


# -- the command ----------------------------------------------------------------------------


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a page differs.")
def main(check: bool) -> None:
    for page in (PAGE, SPEC):
        text = page.read_text()
        wanted = renewed(text)
        if wanted == text:
            continue
        if check:
            click.echo(f"{page.name} differs: run python docs/generate_states.py", err=True)
            sys.exit(1)
        page.write_text(wanted)


if __name__ == "__main__":
    main()
