"""How long a job may still take."""

import asyncio

import msgpack
import pytest

from packhorse import Context, ThreadContext, Worker
from packhorse.deadlines import Deadline
from packhorse.errors import InvalidValue, StaleClaim
from packhorse_protocol.messages import Claims, Done, Extend, Extended, Problem, Take
from tests.client.scripted import ScriptedBroker
from tests.client.serving import claim, ended, leave, result, serving


def test_without_a_limit() -> None:
    assert Deadline(None).remaining_s is None


def test_it_counts_down_to_nothing() -> None:
    deadline = Deadline(60_000)
    first, second = deadline.remaining_s, deadline.remaining_s
    assert first is not None
    assert second is not None
    assert 60 >= first >= second > 0
    assert Deadline(0).remaining_s == 0


def test_it_can_be_moved() -> None:
    deadline = Deadline(0)
    deadline.move(3_600_000)
    assert deadline.remaining_s is not None
    assert deadline.remaining_s > 3_000
    deadline.move(None)
    assert deadline.remaining_s is None


@pytest.mark.parametrize("kind", ["coroutine", "function"])
@pytest.mark.parametrize("limit_ms", [3_600_000, None])
async def test_a_job_asks_for_more(
    scripted: ScriptedBroker, kind: str, limit_ms: int | None
) -> None:
    worker = Worker(dial=scripted.dial)
    seen: list[float | None] = []

    @worker.job("coroutine")
    async def coroutine(ctx: Context) -> None:
        seen.append(ctx.remaining)
        seen.append(await ctx.extend("1h"))
        seen.append(ctx.remaining)

    @worker.job("function")
    def function(ctx: ThreadContext) -> None:
        seen.append(ctx.remaining)
        seen.append(ctx.extend("1h"))
        seen.append(ctx.remaining)

    async with serving(scripted, worker) as peer:
        held = claim("a", job_type=kind, remaining_ms=60_000)
        peer.send(Claims(claims=(held,)))
        extend = await peer.expect(Extend)
        [asked] = extend.claims
        assert (asked.job, asked.token, asked.run_ms) == ("a", held.token, 3_600_000)
        peer.ok(extend, Extended(remaining_ms=limit_ms))
        await ended(peer)
    before, answered, after = seen
    assert before is not None
    assert 0 < before <= 60
    if limit_ms is None:
        assert (answered, after) == (None, None)
    else:
        assert answered is not None
        assert after is not None
        assert 3_600 >= answered >= after > 3_000


async def test_a_claim_that_is_over_can_not_be_extended(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    told: asyncio.Queue[object] = asyncio.Queue()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        try:
            await ctx.extend("1h")
        except StaleClaim as error:
            told.put_nowait(error)
            told.put_nowait(ctx.revoked.is_set())
            raise

    async with serving(scripted, worker) as peer:
        peer.send(Claims(claims=(claim("a"),)))
        extend = await peer.expect(Extend)
        peer.ok(extend, Problem(code="stale_claim", message="this claim is over"))
        assert isinstance(await told.get(), StaleClaim)
        assert await told.get() is True


@pytest.mark.parametrize("more", ["0s", "soon"])
async def test_what_is_no_extension(scripted: ScriptedBroker, more: str) -> None:
    worker = Worker(dial=scripted.dial)

    @worker.job("t")
    async def work(ctx: Context) -> bool:
        with pytest.raises(InvalidValue, match="extend: "):
            await ctx.extend(more)
        return True

    async with serving(scripted, worker) as peer:
        assert msgpack.unpackb(await result(peer, claim("a"))) is True


async def test_a_claim_that_is_pushed_again_brings_its_time(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running, go_on = asyncio.Event(), asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context) -> bool:
        running.set()
        await go_on.wait()
        return ctx.remaining is not None and ctx.remaining > 3_000

    opening = asyncio.create_task(worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    peer.ok(await peer.expect(Take), Done())
    await opening
    peer.send(Claims(claims=(claim("a", remaining_ms=1_000),)))
    await running.wait()
    await peer.close()
    peer = await scripted.accept()
    await peer.welcome(resumed=True)
    peer.send(Claims(claims=(claim("a", remaining_ms=3_600_000),)))
    peer.ok(await peer.expect(Take), Done())
    assert worker.client.id  # the claim has been read: it came before the answer
    go_on.set()
    end = await ended(peer)
    assert end.job == "a"
    await leave(worker, peer)
