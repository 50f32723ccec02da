"""What is submitted for commit, and what comes back.

A member of a batch is a caller's commands for named jobs, or claims from the head of a queue.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Fail,
    Handle,
    ReportProgress,
    WriteLog,
)
from packhorse_broker.jobs.model import Applied, Refusal


class Failed(Struct, frozen=True):
    """A command that was not decided, or whose transaction was not applied."""

    error: Exception


Result: TypeAlias = Applied | Refusal | Failed


COMMAND_BYTES: Final = 256
"""What a command holds beside a body or an outcome, roughly."""


class Submission(Struct):
    """Commands of one caller, each for one job. `done` gets a result for each, in order."""

    items: Sequence[tuple[str, Command]]
    done: Callable[[list[Result], bool], None]
    """The second argument tells whether what was waited for after EXEC came in time."""
    since_s: float = 0.0
    """When it was submitted, by the loop's clock."""

    @property
    def size(self) -> int:
        return len(self.items)

    @property
    def size_bytes(self) -> int:
        """About what the commands hold."""
        return COMMAND_BYTES * len(self.items) + sum(_content_bytes(self.items))


class Draw(Struct):
    """Claims from the head of a type's queue, one job for each as far as there are any, then of
    jobs that are created in the same batch.

    `done` gets a result for each claim that got a job.
    """

    type: str
    claims: Sequence[Claim]
    done: Callable[[list[Applied], bool], None]
    """The second argument tells whether the queue may hold more."""
    of_created: bool = False
    """Nothing waits in the queue, as far as is known: only what is created in the same batch."""
    since_s: float = 0.0

    @property
    def size(self) -> int:
        return len(self.claims)

    @property
    def size_bytes(self) -> int:
        return COMMAND_BYTES * len(self.claims)


Work: TypeAlias = Submission | Draw


def _content_bytes(items: Sequence[tuple[str, Command]]) -> Iterator[int]:
    for _, command in items:
        if type(command) is Create:
            yield len(command.body)
        elif type(command) is Complete or type(command) is Fail:
            yield len(command.outcome)


_GROWING: Final = (Create, Handle, ReportProgress, WriteLog)
"""Commands without which jobs can end; all others are given way in a store that is full."""


def grows(work: Work) -> bool:
    """Whether a store that is full is to be spared it."""
    return isinstance(work, Submission) and any(
        isinstance(command, _GROWING) for _, command in work.items
    )


def creates(work: Work) -> bool:
    """Whether it makes new jobs: then all of its commands do."""
    return (
        isinstance(work, Submission) and bool(work.items) and isinstance(work.items[0][1], Create)
    )


def job_ids(work: Work) -> Iterator[str]:
    """The jobs that it names."""
    if isinstance(work, Submission):
        for job_id, _ in work.items:
            yield job_id


def halves(batch: list[Work]) -> list[list[Work]]:
    """Two smaller batches; a lone member is itself divided."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]]
    [work] = batch
    middle = work.size // 2
    if isinstance(work, Draw):
        return [[part] for part in _halved_draw(work, middle)]
    return [[part] for part in _halved_submission(work, middle)]


def _halved_draw(draw: Draw, middle: int) -> list[Draw]:
    parts: list[tuple[list[Applied], bool]] = []

    def done(drawn: list[Applied], more: bool) -> None:
        parts.append((drawn, more))
        if len(parts) == 2:
            draw.done([*parts[0][0], *parts[1][0]], parts[0][1] or parts[1][1])

    return [
        Draw(draw.type, draw.claims[:middle], done, draw.of_created, draw.since_s),
        Draw(draw.type, draw.claims[middle:], done, draw.of_created, draw.since_s),
    ]


def _halved_submission(submission: Submission, middle: int) -> list[Submission]:
    """The halves are committed one after the other, so their results come in order."""
    parts: list[tuple[list[Result], bool]] = []

    def done(results: list[Result], durable: bool) -> None:
        parts.append((results, durable))
        if len(parts) == 2:
            submission.done([*parts[0][0], *parts[1][0]], parts[0][1] and parts[1][1])

    return [
        Submission(submission.items[:middle], done, submission.since_s),
        Submission(submission.items[middle:], done, submission.since_s),
    ]
