"""A worker with a scripted broker: what it says of one job after the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from packhorse import Worker
from packhorse.payload import NOTHING, pack_arguments
from packhorse_protocol.messages import (
    Bye,
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    Complete,
    Completion,
    Done,
    Ended,
    Fail,
    Failure,
    Revocation,
    Revoke,
    Take,
)
from tests.client.scripted import Peer, ScriptedBroker


def claim(job: str, payload: object = NOTHING, *, job_type: str = "t", **more: Any) -> Claim:
    token = b"--------" + job.encode().ljust(8, b"-")
    packed = payload if isinstance(payload, bytes) else pack_arguments(payload)
    settings = {"fence": 1, "attempt": 1, **more}
    return Claim(job=job, token=token, type=job_type, payload=packed, **settings)


def cancel(claimed: Claim, *, grace_ms: int = 20_000, why: str = "") -> Cancelling:
    """The push that asks for a job to be cancelled."""
    request = Cancellation(job=claimed.job, token=claimed.token, grace_ms=grace_ms, why=why)
    return Cancelling(claims=(request,))


def revoke(claimed: Claim) -> Revoke:
    """The push that takes a claim away."""
    revocation = Revocation(job=claimed.job, token=claimed.token, reason="timeout")
    return Revoke(claims=(revocation,))


@asynccontextmanager
async def serving(scripted: ScriptedBroker, worker: Worker) -> AsyncIterator[Peer]:
    """The worker takes jobs; at the end it leaves in peace."""
    opening = asyncio.create_task(worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    peer.ok(await peer.expect(Take), Done())
    await opening
    yield peer
    await leave(worker, peer)


async def leave(worker: Worker, peer: Peer) -> None:
    leaving = asyncio.create_task(worker.__aexit__(None, None, None))
    peer.ok(await peer.expect(Take), Done())
    peer.ok(await peer.expect(Bye), Done())
    await leaving


async def ended(peer: Peer) -> Completion | Failure:
    """How the next attempt ended, as the worker says."""
    request = await peer.next()
    assert isinstance(request, Complete | Fail), request
    state: Any = "COMPLETE" if isinstance(request, Complete) else "FAILED"
    peer.ok(request, Ended(state=state))
    [end] = request.jobs
    return end


async def result(peer: Peer, claimed: Claim) -> bytes:
    """What the job comes to."""
    peer.send(Claims(claims=(claimed,)))
    end = await ended(peer)
    assert isinstance(end, Completion), end
    return end.result


async def failure(peer: Peer, claimed: Claim) -> Failure:
    """How the job fails."""
    peer.send(Claims(claims=(claimed,)))
    end = await ended(peer)
    assert isinstance(end, Failure), end
    return end
