"""Handles of several jobs, to and from the asynchronous ones. Made by `generate_sync.py`."""

from collections.abc import Coroutine, Iterable
from typing import Any

from packhorse import job as asynchronous_job
from packhorse.errors import SomeRefused
from packhorse.loopthread import LoopThread
from packhorse.sync.job import Job


def wrapped_jobs(
    loop: LoopThread, creating: Coroutine[Any, Any, list[asynchronous_job.Job]]
) -> list[Job]:
    """What is created, in handles of this package, those in the error too."""
    try:
        return [Job(loop, job) for job in loop.run(creating)]
    except SomeRefused as error:
        wrapped = asynchronous_job.Job
        raise SomeRefused(
            [Job(loop, item) if isinstance(item, wrapped) else item for item in error.results]
        ) from None


def ids_of(jobs: Iterable[Job | str]) -> list[str]:
    """The ids of jobs that are named by handle or id."""
    return [job.id if isinstance(job, Job) else job for job in jobs]
