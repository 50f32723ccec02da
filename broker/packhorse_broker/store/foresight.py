"""What a transaction will need, guessed from the one before it.

A lone call waits for each exchange with the store. So behind a small transaction is read what the
next one mostly needs, and jobs that are created are taken for new ones, which the transaction
itself makes sure of. A wrong guess costs an exchange, never more.
"""

from collections.abc import Collection, Sequence
from typing import Final

from packhorse_broker.jobs.commands import Create
from packhorse_broker.jobs.model import State
from packhorse_broker.store.changes import Change
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.round import Round
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.work import Draw, Work

FEW: Final = 4
"""Jobs in a transaction up to which another exchange with the store costs more than they do."""

MAX_TYPES: Final = 8
"""Types whose settings are read ahead."""


class Foresight:
    """`new_jobs` before a batch is read, `needed_next` with what is written."""

    def __init__(self, lane: Lane, keys: PartitionKeys) -> None:
        self._lane = lane
        self._keys = keys
        self._types: dict[str, bytes] = {}
        """Types of which something was created or drawn lately, and the keys of their settings."""

    def new_jobs(self, batch: list[Work]) -> Collection[str]:
        """Jobs of a small batch that does nothing but create, if all else that it needs was read
        ahead: they may be taken for new. Their ids are mostly random."""
        jobs: dict[str, None] = {}
        for work in batch:
            if isinstance(work, Draw):
                continue
            for job_id, command in work.items:
                if (
                    type(command) is not Create
                    or (command.terms is not None and command.terms.unique is not None)
                    or not self._lane.has_read(self._keys.settings(command.type))
                ):
                    return ()
                jobs[job_id] = None
        return jobs if len(jobs) <= FEW else ()

    def needed_next(self, round_: Round, changes: Sequence[Change]) -> list[bytes]:
        """Keys of what is mostly needed by the transaction after a small one: settings of types
        that are created in, and the records of jobs that run now, to be ended."""
        if len(changes) > FEW:
            return []
        for job_type in round_.settings:
            self._types.pop(job_type, None)
            self._types[job_type] = self._keys.settings(job_type)
        while len(self._types) > MAX_TYPES:
            del self._types[next(iter(self._types))]
        started = (change.job.id for change in changes if change.job.state is State.STARTED)
        return [*self._types.values(), *map(self._keys.record, started)]
