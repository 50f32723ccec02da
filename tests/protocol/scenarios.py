"""What the Python client does in a session that is recorded: every request, every push.

A scenario that is in a transcript is not changed any more. What a later version adds gets one of
its own, at the end of `SCENARIOS`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from packhorse.kinds import ForGroup, NewForGroup
from packhorse.kinds_by_hand import Cancelled, Changed, Hurried, Removed, Retried
from packhorse.kinds_to_read import ActionsWanted, JobsWanted, LogWanted, MinutesWanted, TypesWanted
from packhorse_protocol.messages import (
    Backoff,
    ClaimRef,
    Completion,
    Created,
    Extension,
    LogReport,
    NewJob,
    ProgressReport,
    Retention,
    State,
    Timeouts,
    TypeChange,
    TypeSchema,
    Unique,
)
from tests.protocol.actors import Actor, refused, within
from tests.protocol.cast import Cast

LATER_MS: Final = 3_600_000
"""Longer than any session takes."""


MINUTES_S: Final = 3
"""After so long a broker has written what it counted."""


async def version_1(cast: Cast) -> None:
    """All that version 1.0 has."""
    await cast.open()
    for scene in (
        _creating,
        _unique_keys,
        _a_whole_life,
        _other_ends,
        _cancelling,
        _revoking,
        _groups,
        _claims_by_id,
        _types,
        _reading,
        _coming_back,
        _liveness,
        _history,
        _leaving,
    ):
        await scene(cast)


async def _creating(cast: Cast) -> None:
    plain = NewJob(type="plain", id="plain", payload=b"in")
    full = NewJob(
        type="full",
        id="full",
        payload=bytes(range(16)),
        key="customer",
        headers={"content-type": "text/plain"},
        attempts=3,
        persistent=True,
        delay_ms=LATER_MS,
        priority=5,
        backoff=Backoff(type="exponential", delay_ms=100, max_ms=LATER_MS, jitter="full"),
        timeouts=Timeouts(idle_ms=LATER_MS, run_ms=LATER_MS, total_ms=LATER_MS),
        lost_limit=2,
        labels=("red", "green"),
        unique=Unique(key="order", scope="window", window_ms=LATER_MS),
        keep_ms=LATER_MS,
    )
    create = cast.maker.requests.create
    for job in (plain, full):
        await within(create.submit(job))
        await cast.show(job.id or "")
    await within(create.submit(plain))
    assert await refused(create.submit(NewJob(type="plain", id="plain"))) == "conflict"
    made = await within(create.submit(NewJob(type="made")))
    assert isinstance(made, Created)
    await cast.show(made.job)
    await within(cast.boss.requests.remove.submit(Removed(made.job, ("QUEUED",), "not needed")))
    large = NewJob(type="large", payload=bytes(2_000))
    assert await refused(create.submit(large)) == "too_large"
    windowless = NewJob(type="u", unique=Unique(key="k", scope="window"))
    assert await refused(create.submit(windowless)) == "malformed"
    both = [create.submit(NewJob(type="pair", id=job)) for job in ("pair-1", "pair-2")]
    for created in both:
        await within(created)
    reader = await Actor(cast.recorder, "reader", roles=("read",)).open()
    assert await refused(reader.requests.create.submit(plain)) == "forbidden"
    await reader.bye()


async def _unique_keys(cast: Cast) -> None:
    create = cast.maker.requests.create
    await within(create.submit(NewJob(type="solo", id="solo", unique=Unique(key="u"))))

    def another(job: str, **fields: Any) -> NewJob:
        return NewJob(type="solo", id=job, unique=Unique(key="u", **fields))

    assert await refused(create.submit(another("rejected"))) == "duplicate"
    await within(create.submit(another("joined", on_duplicate="join")))
    await within(create.submit(another("replaced", on_duplicate="replace")))
    wanted = JobsWanted("solo", (), None, "u", 0, None, False, None, 100)
    await within(cast.boss.requests.list.submit(wanted))
    await within(cast.boss.requests.remove.submit(Removed("solo", (), "")))


async def _a_whole_life(cast: Cast) -> None:
    keeper, runner = cast.keeper, cast.runner
    waits = Backoff(type="fixed", delay_ms=LATER_MS)
    await cast.create("life", attempts=2, backoff=waits, timeouts=Timeouts(run_ms=LATER_MS))
    await within(keeper.requests.handle.submit("life"))
    await within(keeper.requests.watch.submit("life"))
    claim = await cast.start("life")
    await cast.rest()
    await cast.news("life")
    report = ProgressReport(job="life", token=claim.token, percent=40, text="reading")
    await within(runner.requests.progress.submit(report))
    await cast.news("life")
    lines = LogReport(job="life", token=claim.token, messages=("first", "second"))
    await within(runner.requests.log.submit(lines))
    await cast.news("life")
    longer = Extension(job="life", token=claim.token, run_ms=2 * LATER_MS)
    await within(runner.requests.extend.submit(longer))
    await cast.fail(claim)
    await cast.news("life")
    await cast.show("life")
    await within(cast.boss.requests.why.submit("life"))
    await within(cast.boss.requests.run_now.submit(Hurried("life", "now")))
    await cast.news("life")
    claim = await cast.start("life")
    await cast.rest()
    await cast.news("life")
    await within(cast.boss.requests.why.submit("life"))
    await cast.complete(claim)
    await cast.news("life")
    await cast.show("life")
    await within(cast.boss.requests.attempts.submit("life"))
    await within(cast.boss.requests.read_log.submit(LogWanted("life", 0, 100)))
    await cast.outcome("life")
    while not (await within(keeper.events.get())).removed:
        pass
    assert await refused(cast.boss.requests.get.submit("life")) == "not_found"
    await within(keeper.requests.watch.submit("plain"))
    await within(keeper.requests.unwatch.submit("plain"))


async def _other_ends(cast: Cast) -> None:
    await cast.create("broken", attempts=3)
    await within(cast.keeper.requests.handle.submit("broken"))
    claim = await cast.start("broken")
    await cast.rest()
    await cast.fail(claim, retry=True, retry_in_ms=0)
    claim = await cast.start("broken")
    await cast.rest()
    await cast.fail(claim, retry=False)
    await cast.outcome("broken")
    await cast.create("lost")
    await within(cast.keeper.requests.handle.submit("lost"))
    mortal = await Actor(cast.recorder, "mortal").open()
    await cast.start("lost", mortal)
    await mortal.bye()
    await cast.outcome("lost")
    create = cast.keeper.requests.create_and_handle
    late = NewJob(type="late", id="late", timeouts=Timeouts(idle_ms=1))
    await within(create.submit(late))
    await cast.outcome("late")
    await within(create.submit(NewJob(type="handling", id="handling")))
    assert await refused(cast.maker.requests.handle.submit("nothing")) == "not_found"
    await within(cast.boss.requests.remove.submit(Removed("handling", (), "")))
    assert (await within(cast.keeper.events.get())).removed


async def _cancelling(cast: Cast) -> None:
    cancel = cast.boss.requests.cancel
    await cast.create("soon")
    claim = await cast.start("soon")
    await cast.rest()
    await within(cancel.submit(Cancelled("soon", LATER_MS, "not wanted")))
    await cast.runner.next(cast.runner.cancelling)
    await cast.show("soon")
    await within(cast.boss.requests.why.submit("soon"))
    await cast.fail(claim)
    await cast.show("soon")
    await cast.create("at-once")
    await cast.start("at-once")
    await cast.rest()
    await within(cancel.submit(Cancelled("at-once", 0, "")))
    await cast.runner.next(cast.runner.revoked)
    await cast.create("waiting")
    await within(cancel.submit(Cancelled("waiting", None, "")))
    await within(cast.boss.requests.retry.submit(Retried("waiting", 2, "after all")))
    retry = cast.boss.requests.retry.submit(Retried("waiting", 1, ""))
    assert await refused(retry) == "wrong_state"
    claim = await cast.start("waiting")
    await cast.rest()
    await cast.complete(claim)
    assert await refused(cancel.submit(Cancelled("nothing", None, ""))) == "not_found"


async def _revoking(cast: Cast) -> None:
    await cast.create("removed")
    await cast.start("removed")
    await cast.rest()
    await within(cast.boss.requests.remove.submit(Removed("removed", (), "")))
    await cast.runner.next(cast.runner.revoked)
    await cast.create("slow", timeouts=Timeouts(run_ms=1))
    await cast.start("slow")
    await cast.rest()
    await cast.runner.next(cast.runner.revoked)
    await cast.show("slow")


async def _groups(cast: Cast) -> None:
    keeper = cast.keeper
    await within(keeper.requests.join.submit(("team",)))
    job = NewJob(type="shared", id="shared")
    await within(cast.maker.requests.create_for_group.submit(NewForGroup(job, "team", False)))
    await cast.complete(await cast.start("shared"))
    await cast.rest()
    await cast.outcome("shared", "team")
    await cast.create("shared-2", persistent=True)
    await within(keeper.requests.handle_for_group.submit(ForGroup("shared-2", "team")))
    await cast.complete(await cast.start("shared-2"), b"")
    await cast.rest()
    await cast.outcome("shared-2", "team")
    handled = cast.maker.requests.handled_for_group.submit(ForGroup("shared-2", "team"))
    # To the library this means that it is done.
    await within(handled)
    await within(keeper.requests.join.submit(()))


async def _claims_by_id(cast: Cast) -> None:
    runner = cast.runner
    await cast.create("wanted")
    claim = await within(runner.requests.claim.submit("wanted"))
    assert await refused(runner.requests.claim.submit("wanted")) == "wrong_state"
    wrong = Completion(job="wanted", token=bytes(16))
    assert await refused(runner.requests.complete.submit(wrong)) == "stale_claim"
    many = LogReport(job="wanted", token=claim.token, messages=("line",) * 21)
    assert await refused(runner.requests.log.submit(many)) == "too_many"
    long = LogReport(job="wanted", token=claim.token, messages=("x" * 201,))
    assert await refused(runner.requests.log.submit(long)) == "too_large"
    result = Completion(job="wanted", token=claim.token, result=bytes(2_000))
    assert await refused(runner.requests.complete.submit(result)) == "too_large"
    ref = ClaimRef(job="wanted", token=claim.token)
    await within(runner.requests.release.submit(ref))
    await within(runner.requests.release.submit(ref))
    await cast.show("wanted")


async def _types(cast: Cast) -> None:
    boss, create = cast.boss.requests, cast.maker.requests.create
    settings = TypeChange(
        type="bounded",
        max_jobs=1,
        max_bytes=1_000_000,
        keep_complete=Retention(keep_ms=LATER_MS),
        keep_failed=Retention(keep_ms=LATER_MS, keep_jobs=10),
    )
    await within(boss.configure.submit(Changed(settings, "small")))
    await within(create.submit(NewJob(type="bounded", id="bounded-1")))
    assert await refused(create.submit(NewJob(type="bounded", id="bounded-2"))) == "quota"
    await within(boss.configure.submit(Changed(TypeChange(type="bounded", paused=True), "")))
    claimed = cast.runner.requests.claim.submit("bounded-1")
    assert await refused(claimed) == "wrong_state"
    await within(boss.why.submit("bounded-1"))
    change = TypeChange(type="bounded", paused=False, draining=True, max_jobs=0)
    await within(boss.configure.submit(Changed(change, "")))
    assert await refused(create.submit(NewJob(type="bounded", id="bounded-3"))) == "type_draining"
    schema = TypeSchema(type="bounded", schema=b'{"type": "object"}')
    await within(cast.runner.requests.publish.submit(schema))
    await within(boss.schema.submit("bounded"))
    await within(boss.types.submit(TypesWanted(("bounded", "unheard-of"), None, 100)))
    await within(boss.types.submit(TypesWanted((), "made", 2)))


async def _reading(cast: Cast) -> None:
    boss = cast.boss.requests
    first = await within(boss.list.submit(_jobs("pair", limit=1)))
    await within(boss.list.submit(_jobs("pair", limit=1, cursor=first.cursor)))
    await within(boss.list.submit(_jobs(None, states=("PENDING", "FAILED"), newest_first=True)))
    await within(boss.list.submit(JobsWanted(None, (), "red", None, 0, None, False, None, 100)))
    await within(boss.counts.submit(()))
    await within(boss.counts.submit(("plain", "unheard-of")))
    await within(boss.why.submit("plain"))
    await within(boss.info.submit(None))


def _jobs(
    job_type: str | None,
    *,
    states: tuple[State, ...] = (),
    newest_first: bool = False,
    cursor: Any = None,
    limit: int = 100,
) -> JobsWanted:
    return JobsWanted(job_type, states, None, None, 0, None, newest_first, cursor, limit)


async def _coming_back(cast: Cast) -> None:
    twin = await Actor(cast.recorder, "twin").open()
    await cast.create("held")
    claim = await cast.start("held", twin)
    for other, code in ((None, "client_exists"), (bytes(32), "secret_wrong")):
        assert await refused(Actor(cast.recorder, "twin", secret=other).open()) == code
    again = await Actor(cast.recorder, "twin").open()
    await within(twin.ended)
    pushed = await again.next(again.claims)
    assert pushed.token == claim.token
    done = Completion(job="held", token=pushed.token)
    await within(again.requests.complete.submit(done))
    await again.bye()


async def _liveness(cast: Cast) -> None:
    """Long enough for a beat each way."""
    sleeper = await Actor(cast.recorder, "sleeper", timeout_ms=1_500).open()
    await cast.recorder.beaten("sleeper")
    await sleeper.bye()


async def _history(cast: Cast) -> None:
    # What a broker writes about once a second: there is nothing else to wait for.
    await asyncio.sleep(MINUTES_S)
    boss = cast.boss.requests
    await within(boss.minutes.submit(MinutesWanted("life", 0)))
    await within(boss.cancel.submit(Cancelled("plain", None, "the last")))
    # The others were long before: those of one millisecond come together.
    page = await within(boss.actions.submit(ActionsWanted(None, 1, None)))
    await within(boss.actions.submit(ActionsWanted(None, 100, page.cursor)))


async def _leaving(cast: Cast) -> None:
    for actor in (cast.runner, cast.keeper, cast.boss):
        await actor.bye()
    cast.recorder.note(do="drain")
    await cast.end_broker()
    await cast.maker.session.close(bye=False)


SCENARIOS: Final[dict[str, Callable[[Cast], Awaitable[None]]]] = {"1.0": version_1}
"""By the version of the protocol that brought what they show."""

SETTINGS: Final = {
    "--broker-name": "recorded",
    "--max-payload-bytes": "1000",
    "--max-result-bytes": "1000",
    "--max-log-message-bytes": "200",
    "--max-log-entries": "20",
    "--drain-ms": "2000",
}
"""Of the broker: small bounds, so that the frames that exceed them are small too."""
