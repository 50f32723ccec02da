"""The plain model of the jobs, and beside it what unique keys do, told a second time as well.

Each key is used with one scope only, and windows never end here.
"""

from packhorse_broker.jobs.commands import Command, Create, Handle, OnDuplicate, Replace, Retry
from packhorse_broker.jobs.model import Rules
from packhorse_broker.jobs.terms import Scope
from tests.jobs.ledger import Plain
from tests.jobs.model import Model


class KeyedModel:
    """All jobs, and who holds which unique key."""

    def __init__(self, rules: Rules) -> None:
        self.inner = Model(rules)
        self.jobs = self.inner.jobs
        self._windows: dict[tuple[str, str], str] = {}

    def apply(self, job_id: str, command: Command, now_ms: int) -> str:
        """As `Model.apply`, or `duplicate`."""
        if isinstance(command, Create) and job_id not in self.jobs:
            return self._create(job_id, command, now_ms)
        if isinstance(command, Retry) and self._would_need_the_key_of_another(job_id):
            return "duplicate"
        return self.inner.apply(job_id, command, now_ms)

    def _create(self, job_id: str, command: Create, now_ms: int) -> str:
        unique = command.terms.unique if command.terms is not None else None
        if unique is None:
            return self.inner.apply(job_id, command, now_ms)
        holder = self._holder(command.type, unique.key)
        if holder is None:
            if unique.scope is Scope.WINDOW:
                self._windows[command.type, unique.key] = job_id
            return self.inner.apply(job_id, command, now_ms)
        known = self.jobs.get(holder)
        if known is None or (known["type"], _key(known)) != (command.type, unique.key):
            return "duplicate"
        if command.on_duplicate is OnDuplicate.REJECT:
            return "duplicate"
        if command.on_duplicate is OnDuplicate.REPLACE:
            told = self.inner.apply(holder, Replace(command), now_ms)
            return "duplicate" if told == "wrong_state" else told
        told = self.inner.apply(holder, Handle(command.created_by), now_ms)
        if command.group is None:
            return told
        return self.inner.apply(holder, Handle(command.created_by, command.group), now_ms)

    def _holder(self, job_type: str, key: str) -> str | None:
        holders = [
            job["id"]
            for job in self.jobs.values()
            if (job["type"], _key(job)) == (job_type, key) and _holds(job)
        ]
        assert len(holders) <= 1, f"{holders} all hold {key}"
        return holders[0] if holders else self._windows.get((job_type, key))

    def _would_need_the_key_of_another(self, job_id: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or _key(job) is None:
            return False
        scope = job["terms"].unique.scope
        if scope is Scope.WINDOW or (scope is Scope.UNTIL_STARTED and job["fence"]):
            return False
        holder = self._holder(job["type"], job["terms"].unique.key)
        return holder is not None and holder != job_id


def _key(job: Plain) -> str | None:
    unique = job["terms"].unique
    return unique.key if unique is not None else None


def _holds(job: Plain) -> bool:
    if job["finished_at"]:
        return False
    scope = job["terms"].unique.scope
    return scope is Scope.UNTIL_FINISHED or (scope is Scope.UNTIL_STARTED and not job["fence"])
