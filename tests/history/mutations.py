"""`python -m tests.history.mutations NAME serve FLAGS`: the daemon with a bug.

Each is a mistake that a broker could really have; what the checker says of it is tested. It is
made by replacing a part of the broker before the daemon starts.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from packhorse.cli import main
from packhorse_broker.delivery import Delivery
from packhorse_broker.jobs import attempts, claims, creation, machine
from packhorse_broker.jobs.commands import Create, Handled
from packhorse_broker.jobs.model import Applied, Decision, Job, Now, Rules, State
from packhorse_broker.sessions import Session
from packhorse_broker.store import writes
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.indexes import Entry, entries
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Link
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.records import ClientRecord
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.work import Work
from packhorse_broker.sweeper import Sweeper

EXEC_AFTER_S: Final = 0.03
"""How long after its answer a transaction is sent by a broker that answers first."""


def answers_before_exec() -> None:
    """Callers are told that it was done, then it is."""
    commit, commit_batch, start = Lane.commit, Committer._commit, Committer.start
    unsent: dict[Lane, Callable[[], Awaitable[list[Any] | None]]] = {}
    hurried: set[Lane] = set()

    def start_hurried(self: Committer) -> None:
        hurried.add(self._lane)
        start(self)

    async def answer(self: Lane, commands: Sequence[Argument], **options: Any) -> list[Any] | None:
        if self not in hurried:
            return await commit(self, commands, **options)
        unsent[self] = partial(commit, self, commands, **options)
        return []

    async def answer_then_commit(self: Committer, batch: list[Work]) -> None:
        await commit_batch(self, batch)
        execute = unsent.pop(self._lane, None)
        if execute is not None:
            await asyncio.sleep(EXEC_AFTER_S)
            with contextlib.suppress(StoreError):
                await execute()

    _replace(Committer, "start", start_hurried)
    _replace(Lane, "commit", answer)
    _replace(Committer, "_commit", answer_then_commit)


def token_not_checked() -> None:
    """Whoever says something about a job is taken for its holder."""

    def holds(job: Job, client: str, token: bytes) -> bool:
        return True

    _replace(claims, "holds", holds)
    _replace(attempts, "holds", holds)


def watch_dropped() -> None:
    """Records are read without being watched."""

    async def read(self: Lane, keys: Sequence[bytes]) -> list[bytes | None]:
        [values] = await self.ask(pack(("MGET", *keys)))
        found: list[bytes | None] = values
        return found

    _replace(Lane, "watch", read)


def grace_ignored() -> None:
    """Who could not be heard during an outage is given up as soon as it is over."""

    def spared(self: Sweeper, client: ClientRecord, session: Session | None) -> bool:
        return False

    _replace(Sweeper, "_spared", spared)


def outcomes_not_repeated() -> None:
    """A handler that comes back is not told what it is still owed."""

    def catch_up(self: Delivery, session: Session) -> None:
        session.behind = False

    _replace(Delivery, "catch_up", catch_up)


def claim_without_holder() -> None:
    """A claim is written, but not that its runner has it."""

    def without_holder(keys: PartitionKeys, job: Job) -> list[Entry]:
        held = keys.claims(job.runner or "")
        return [entry for entry in entries(keys, job) if entry[0] != held]

    _replace(writes, "entries", without_holder)


def unknown_repeated() -> None:
    """A transaction whose answer was lost is taken for one that was not applied."""
    _replace(Lane, "_settle", _settled_as(applied=False))


def unknown_taken_for_done() -> None:
    """A transaction whose answer was lost is taken for one that was applied."""
    _replace(Lane, "_settle", _settled_as(applied=True))


def _settled_as(*, applied: bool) -> Callable[..., Any]:
    async def settle(self: Lane, lost: Link, number: int) -> bool:
        await self._reconnected()
        return applied

    return settle


def delay_cut_short() -> None:
    """A job is queued when half of its delay is over."""
    course = creation._course

    def short(known: Any, command: Create, groups: tuple[str, ...], now: Now) -> Any:
        return course(known, replace(command, delay_ms=command.delay_ms // 2), groups, now)

    _replace(creation, "_course", short)


def attempts_not_counted() -> None:
    """A job is tried until it succeeds."""

    def has_another(job: Job) -> bool:
        return True

    _replace(attempts, "_has_another", has_another)


def handled_forgotten() -> None:
    """`handled` is acknowledged, and changes nothing."""

    def forget(job: Job, command: Handled, now: Now, rules: Rules) -> Decision:
        return Applied(job, job)

    for state in (State.COMPLETE, State.FAILED):
        machine.TABLE[state, Handled] = forget


MUTATIONS: Final[dict[str, Callable[[], None]]] = {
    mutation.__name__: mutation
    for mutation in (
        answers_before_exec,
        token_not_checked,
        watch_dropped,
        grace_ignored,
        outcomes_not_repeated,
        claim_without_holder,
        unknown_repeated,
        unknown_taken_for_done,
        delay_cut_short,
        attempts_not_counted,
        handled_forgotten,
    )
}


def _replace(owner: object, name: str, value: object) -> None:
    """Not without looking: a mutation of something that is no longer there would go unnoticed."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, value)


if __name__ == "__main__":
    MUTATIONS[sys.argv.pop(1)]()
    main()
