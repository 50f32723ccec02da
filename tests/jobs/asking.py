"""Strategies for what may be asked of jobs: few clients, jobs and types, so that they meet.

A command of a runner is drawn as a `Draft`, which is made a command when it is known who holds
the job: most are then right, and the others use a token of the past or another's name.
"""

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from msgspec import Struct

from packhorse_broker.jobs.commands import (
    Command,
    Complete,
    Create,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.model import Progress

JOBS: Final = ("a", "b", "a:b")
CLIENTS: Final = ("ann", "bob", "cid")
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
jobs: Final = st.sampled_from(JOBS)
types: Final = st.sampled_from(TYPES)


def _create(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Create]:
    """Creations whose content is the same again quite often; `sizes` of the body, in bytes."""
    return st.builds(
        Create,
        id=jobs,
        type=types,
        body=sizes.map(lambda size: b"x" * size),
        created_by=clients,
        key=st.sampled_from((None, "tenant")),
        attempts=st.integers(1, 3),
        persistent=st.booleans(),
        handler=st.none() | clients,
        fingerprint=st.sampled_from((None, b"one", b"one", b"two")),
    )


def _drafts(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Draft]:
    outcomes = sizes.map(lambda size: b"y" * size)
    progress = st.builds(Progress, st.integers(0, 100), st.sampled_from(("", "half")))
    lines = st.lists(st.sampled_from(("line", "Zeile", "行")), max_size=4).map(tuple)
    makes: st.SearchStrategy[Make] = st.one_of(
        st.sampled_from((Release, TakeBack)),
        progress.map(lambda said: lambda client, token: ReportProgress(client, token, said)),
        lines.map(lambda said: lambda client, token: WriteLog(client, token, said)),
        outcomes.map(lambda data: lambda client, token: Complete(client, token, data)),
        st.tuples(outcomes, st.booleans()).map(
            lambda said: lambda client, token: Fail(client, token, *said)
        ),
    )
    honest = st.sampled_from((True, True, True, False))
    return st.builds(Draft, make=makes, honest=honest, client=clients, age=st.integers(0, 3))


def asked(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[str, Command | Draft]]:
    """A job and what is asked of it, by whomever; claims are made apart, with a nonce of theirs."""
    create = _create(sizes).map(lambda command: (command.id, command))
    others = st.one_of(
        st.just(Remove()),
        clients.map(RunnerGone),
        clients.map(Handle),
        clients.map(Handled),
        clients.map(HandlerGone),
        st.just(Remove()),
        st.just(Expire()),
    )
    return st.one_of(
        create,
        create,
        st.tuples(jobs, _drafts(sizes)),
        st.tuples(jobs, _drafts(sizes)),
        st.tuples(jobs, others),
    )
