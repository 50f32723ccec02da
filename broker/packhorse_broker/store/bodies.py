"""Payloads that are kept apart from their records, for the runners that claimed them."""

from typing import TypeAlias

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Claim
from packhorse_broker.jobs.model import Applied
from packhorse_broker.store.round import Round
from packhorse_broker.store.work import Result, Submission, Work

Granted: TypeAlias = tuple[list[Applied] | list[Result], int, Applied]
"""A claim: the list of results it is in, its place there, itself."""


def claims_of(batch: list[Work], round_: Round) -> list[Granted]:
    """Claims that a batch was granted whose payloads are kept apart."""
    found: list[Granted] = [
        (drawn, place, applied)
        for drawn, _ in round_.drawn
        for place, applied in enumerate(drawn)
        if applied.job.body is None
    ]
    submissions = (work for work in batch if isinstance(work, Submission))
    for work, results in zip(submissions, round_.results, strict=True):
        claimed = [place for place, (_, asked) in enumerate(work.items) if type(asked) is Claim]
        for place in claimed:
            result = results[place]
            if type(result) is Applied and result.job.body is None:
                found.append((results, place, result))
    return found


def put_bodies(claims: list[Granted], bodies: dict[str, bytes | None]) -> None:
    """Puts bodies that are kept apart into the records that runners are given."""
    for results, place, claimed in claims:
        job = replace(claimed.job, body=bodies[claimed.job.id])
        results[place] = replace(claimed, job=job)
