"""Strategies for what may be asked of jobs: few clients, jobs and types, so that they meet.

A command of a runner is drawn as a `Draft`, which is made a command when it is known who holds
the job: most are then right, and the others use a token of the past or another's name.
"""

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from msgspec import Struct

from packhorse_broker.jobs.commands import (
    Cancel,
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
from packhorse_broker.jobs.model import Progress, State
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter, Terms

JOBS: Final = ("a", "b", "a:b")
CLIENTS: Final = ("ann", "bob", "cid")
GROUPS: Final = ("shop", "ann")
"""One has the name of a client: the two are never taken for each other."""
TYPES: Final = ("mail", "mail:x")

Make = Callable[[str, bytes], Command]


class Draft(Struct, frozen=True):
    """A runner's command but for who says it."""

    make: Make
    honest: bool
    client: str
    """Says it, if not honest."""
    age: int
    """Which token of the job's past is used then, counted back from the newest."""

    def command(self, runner: str | None, tokens: list[bytes]) -> Command:
        """`tokens`: all that the job has had, oldest first."""
        if self.honest and runner is not None:
            return self.make(runner, tokens[-1])
        token = tokens[-1 - self.age % len(tokens)] if tokens else b"none"
        return self.make(self.client, token)


clients: Final = st.sampled_from(CLIENTS)
groups: Final = st.sampled_from(GROUPS)
jobs: Final = st.sampled_from(JOBS)
types: Final = st.sampled_from(TYPES)

_whys: Final = st.sampled_from(("", "too late"))


def _backoffs(*, jitter: bool) -> st.SearchStrategy[Backoff]:
    return st.builds(
        Backoff,
        growth=st.sampled_from(Growth),
        delay_ms=st.sampled_from((0, 100, 1_000)),
        factor_percent=st.sampled_from((100, 150, 200)),
        delays_ms=st.lists(st.sampled_from((0, 300, 700)), max_size=2).map(tuple),
        max_ms=st.sampled_from((0, 1_500)),
        jitter=st.sampled_from(Jitter) if jitter else st.just(Jitter.NONE),
        jitter_percent=st.sampled_from((0, 20, 100)),
    )


def _terms(*, jitter: bool) -> st.SearchStrategy[Terms]:
    return st.builds(
        Terms,
        priority=st.sampled_from((0, 0, 5, -1)),
        backoff=st.none() | _backoffs(jitter=jitter),
        idle_ms=st.sampled_from((0, 0, 1_500)),
        run_ms=st.sampled_from((0, 1_000)),
        total_ms=st.sampled_from((0, 0, 2_500)),
        lost_limit=st.sampled_from((None, 0, 1)),
        labels=st.sampled_from(((), ("red",), ("red", "blue"))),
        keep_ms=st.sampled_from((None, None, 0, 700)),
    )


def creates(
    sizes: st.SearchStrategy[int], *, jitter: bool = False, from_ms: int = 0
) -> st.SearchStrategy[Create]:
    """Creations whose content is the same again quite often; see `asked`."""
    return st.builds(
        Create,
        id=jobs,
        type=types,
        body=sizes.map(lambda size: b"x" * size),
        created_by=clients,
        key=st.sampled_from((None, "tenant")),
        attempts=st.integers(1, 3),
        persistent=st.sampled_from((False, False, True)),
        handler=st.none() | clients,
        fingerprint=st.sampled_from((None, b"one", b"one", b"two")),
        group=st.sampled_from((None, None, *GROUPS)),
        delay_ms=st.sampled_from((0, 0, 0, 500)),
        delay_until=st.sampled_from((0, 0, 0, from_ms and from_ms + 2_000)),
        terms=st.none() | _terms(jitter=jitter),
    )


def drafts(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Draft]:
    """What runners say; `sizes` of outcomes, in bytes."""
    outcomes = sizes.map(lambda size: b"y" * size)
    progress = st.builds(Progress, st.integers(0, 100), st.sampled_from(("", "half")))
    lines = st.lists(st.sampled_from(("line", "Zeile", "行")), max_size=4).map(tuple)
    retries = st.tuples(
        outcomes, st.sampled_from((True, True, False)), st.sampled_from((None, None, 0, 600))
    )
    makes: st.SearchStrategy[Make] = st.one_of(
        st.sampled_from((Release, TakeBack)),
        progress.map(lambda said: lambda client, token: ReportProgress(client, token, said)),
        lines.map(lambda said: lambda client, token: WriteLog(client, token, said)),
        outcomes.map(lambda data: lambda client, token: Complete(client, token, data)),
        retries.map(lambda said: lambda client, token: Fail(client, token, *said)),
        st.sampled_from((1, 1_500)).map(lambda ms: lambda client, token: Extend(client, token, ms)),
    )
    honest = st.sampled_from((True, True, True, False))
    return st.builds(Draft, make=makes, honest=honest, client=clients, age=st.integers(0, 3))


def _by_hand() -> st.SearchStrategy[Command]:
    graces = st.sampled_from((None, 0, 500, 1_500))
    states = st.lists(st.sampled_from(State), max_size=2, unique=True).map(tuple)
    return st.one_of(
        st.builds(Cancel, by=clients, grace_ms=graces, why=_whys),
        st.builds(Retry, by=clients, attempts=st.integers(1, 2), why=_whys),
        st.builds(RunNow, by=clients, why=_whys),
        st.builds(Remove, by=clients, why=_whys, states=states),
    )


def asked(
    sizes: st.SearchStrategy[int], *, jitter: bool = False, from_ms: int = 0
) -> st.SearchStrategy[tuple[str, Command | Draft]]:
    """A job and what is asked of it, by whomever; claims are made apart, with a nonce of theirs.

    `sizes` of bodies and outcomes, in bytes. `jitter` only where the model is told what chance
    the decision had. Some jobs are delayed until shortly after `from_ms`, if that is given.
    """
    of_any = creates(sizes, jitter=jitter, from_ms=from_ms)
    create = of_any.map(lambda command: (command.id, command))
    handlers: st.SearchStrategy[Command] = st.one_of(
        clients.map(Handle),
        clients.map(Handled),
        clients.map(HandlerGone),
        st.builds(Handle, clients, groups),
        st.builds(Handled, clients, groups),
    )
    others: st.SearchStrategy[Command] = st.one_of(
        clients.map(RunnerGone),
        st.just(Due()),
        st.just(Due()),
        st.just(Evict()),
        of_any.map(Replace),
    )
    return st.one_of(
        create,
        create,
        st.tuples(jobs, drafts(sizes)),
        st.tuples(jobs, drafts(sizes)),
        st.tuples(jobs, handlers),
        st.tuples(jobs, others),
        st.tuples(jobs, _by_hand()),
    )
