"""What tests of outcomes say as a scripted broker."""

import asyncio
from typing import Any

from packhorse.client import Client
from packhorse.job import Job
from packhorse_protocol.messages import (
    Create,
    Created,
    Get,
    JobView,
    Outcomes,
    Problem,
)
from packhorse_protocol.messages import Outcome as OutcomeMessage
from tests.client.scripted import Peer

NOT_FOUND = Problem(code="not_found", message="there is no such job")


def outcome(
    job: str,
    *,
    result: bytes = b"\x05",
    version: int = 3,
    ended_as: int | None = None,
    group: str | None = None,
) -> OutcomeMessage:
    """`ended_as`: the version with which the job had ended, if it has grown since."""
    return OutcomeMessage(
        job=job,
        type="t",
        state="COMPLETE",
        version=version,
        result=result,
        finished_at=version if ended_as is None else ended_as,
        group=group,
    )


def push(
    peer: Peer,
    *jobs: str,
    version: int = 3,
    ended_as: int | None = None,
    group: str | None = None,
) -> None:
    found = tuple(outcome(job, version=version, ended_as=ended_as, group=group) for job in jobs)
    peer.send(Outcomes(outcomes=found))


async def create(client: Client, peer: Peer, job_id: str) -> Job:
    """A job that this client handles."""
    creating = asyncio.create_task(client.create("t", job_id=job_id, handle=True))
    peer.ok(await peer.expect(Create), Created(job=job_id, state="QUEUED"))
    return await creating


async def synchronise(client: Client, peer: Peer) -> None:
    """Returns when the client has read all that was said to it."""
    getting = asyncio.create_task(client.get("sync"))
    view = JobView(id="sync", type="t", state="QUEUED", version=1)
    peer.ok(await peer.expect(Get), view)
    await getting


async def begun(task: "asyncio.Task[Any]") -> None:
    """Returns when the task waits for something."""
    await asyncio.wait([task], timeout=0)
    await asyncio.wait([task], timeout=0)
