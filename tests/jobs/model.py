"""What a job should do, told a second time: dictionaries and ifs, written from the design's words.

It knows the commands and the rules' settings, which are the vocabulary of both, and shares
nothing else with the state machine. Where the two differ, one of them has misread the design.
`ledger.py` has what is kept of jobs, `running.py` what runners and time make of them; here is
what clients ask. `plainly.py` tells records in the same terms.
"""

from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Create,
    Due,
    Evict,
    Handle,
    Handled,
    HandlerGone,
    Remove,
    Replace,
    Retry,
    RunnerGone,
    RunNow,
)
from packhorse_broker.jobs.terms import Terms
from tests.jobs.ledger import Plain, awaited
from tests.jobs.running import ByRunner, Running


class Model(Running):
    """All jobs that there are, and what each command makes of them."""

    def draw(self, job_type: str, claims: list[Claim], now_ms: int) -> list[str]:
        """Claims from the head of a queue: the jobs that got a runner, in the claims' order."""
        taken = self.queue(job_type)[: len(claims)]
        for job_id, claim in zip(taken, claims, strict=False):
            self.apply(job_id, claim, now_ms)
        return taken

    def apply(self, job_id: str, command: Command, now_ms: int, chance: float = 0.0) -> str:
        """`changed`, `same` (a repetition), `gone`, or the code of a refusal.

        `chance`: drawn for jitter, from 0 to below 1.
        """
        job = self.jobs.get(job_id)
        if isinstance(command, Create):
            return self._create(job, command, now_ms)
        if job is None:
            return "not_found"
        before = _copied(job)
        told = self._command(job, command, now_ms, chance)
        if told == "gone":
            del self.jobs[job_id]
            del self.attempts[job_id]
            del self._pieces[job_id]
        elif told == "changed":
            job["version"] += 1
        else:
            assert job == before, "only what changes a job may touch it"
        if isinstance(command, Cancel | Retry | RunNow | Remove) and told in ("changed", "gone"):
            names = {Cancel: "cancel", Retry: "retry", RunNow: "run_now", Remove: "remove"}
            name = names[type(command)]
            self.actions.append((now_ms, name, command.by, command.why, job_id, job["type"]))
            if told == "changed":
                message = name + (": " + command.why if command.why else "")
                self._log(job, "action", message, None, now_ms, by=command.by)
        return told

    def _create(self, job: Plain | None, command: Create, now_ms: int) -> str:
        if job is not None:
            if command.fingerprint is None or command.fingerprint != job["fingerprint"]:
                return "conflict"
            if not self._add_handlers(job, command):
                return "same"
            job["expires_at"] = 0
            job["version"] += 1
            return "changed"
        job = self.jobs[command.id] = {
            "id": command.id,
            "type": command.type,
            "reason": None,
            "version": 1,
            "current_attempt": 0,
            "runner": None,
            "token": None,
            "fence": 0,
            "end": "NONE",
            "handlers": [],
            "groups": [],
            "fingerprint": command.fingerprint,
            "replaced_by": None,
            "created_by": command.created_by,
            "created_at": now_ms,
            "queued_at": 0,
            "started_at": 0,
            "finished_at": 0,
            "expires_at": 0,
            "run_until": 0,
            "total_until": 0,
            "failed": 0,
            "lost": 0,
            "released": 0,
            "timed_out": 0,
            "pardoned": 0,
            "retried": 0,
            "expired": "NONE",
            "cancel": None,
            "progress": None,
            "log": [],
            "log_first": 0,
            "log_end": 0,
            "log_bytes": (0, 0),
            "outcome": None,
        }
        self.attempts[command.id] = []
        self._pieces[command.id] = [[0, 0]]
        self._add_handlers(job, command)
        self._fill(job, command, now_ms)
        return "changed"

    def _fill(self, job: Plain, command: Create, now_ms: int) -> None:
        """What a create and a replacement have in common: the content, and when it can run."""
        job["attempts"] = command.attempts
        job["persistent"] = command.persistent
        job["key"] = command.key
        job["body"] = command.body
        job["terms"] = command.terms or Terms()
        job["total_until"] = 0
        start = now_ms + command.delay_ms
        if command.delay_until > start:
            start = command.delay_until
        if start > now_ms:
            job["state"] = "PENDING"
            job["delayed_until"] = start
        else:
            self._to_the_queue(job, now_ms)

    def _add_handlers(self, job: Plain, command: Create) -> bool:
        """Whether there was a new one."""
        news = 0
        for name, among in ((command.handler, "handlers"), (command.group, "groups")):
            if name is not None and name not in job[among]:
                job[among].append(name)
                news += 1
        return news > 0

    def _command(self, job: Plain, command: Command, now_ms: int, chance: float) -> str:
        if isinstance(command, ByRunner):
            return self._by_the_runner(job, command, now_ms, chance)
        if isinstance(command, Cancel | Retry | RunNow | Remove):
            return self._by_hand(job, command, now_ms)
        if isinstance(command, Due):
            return self._due(job, now_ms, chance)
        if isinstance(command, Claim):
            return self._claim(job, command, now_ms)
        if isinstance(command, RunnerGone):
            return self._runner_gone(job, command, now_ms, chance)
        if isinstance(command, Evict):
            idle = job["finished_at"] and not awaited(job) and not job["persistent"]
            return "gone" if idle else "same"
        if isinstance(command, Replace):
            return self._replace(job, command.by, now_ms)
        assert isinstance(command, Handle | Handled | HandlerGone)
        return self._about_handlers(job, command)

    def _replace(self, job: Plain, by: Create, now_ms: int) -> str:
        made = (by.id, by.fingerprint) if by.fingerprint is not None else None
        if made is not None and made == job["replaced_by"]:
            if not self._add_handlers(job, by):
                return "same"
            job["expires_at"] = 0
            return "changed"
        if job["state"] not in ("PENDING", "QUEUED") or job["fence"]:
            return "wrong_state"
        self._add_handlers(job, by)
        job["delayed_until"] = 0
        unique = job["terms"].unique
        self._fill(job, by, now_ms)
        job["terms"] = replace(job["terms"], unique=unique)
        job["replaced_by"] = made
        return "changed"

    # -- by hand

    def _by_hand(self, job: Plain, command: Cancel | Retry | RunNow | Remove, now_ms: int) -> str:
        if isinstance(command, Remove):
            allowed = {state.name for state in command.states}
            return "gone" if not allowed or job["state"] in allowed else "wrong_state"
        if isinstance(command, RunNow):
            if job["state"] != "PENDING":
                return "wrong_state"
            return self._to_the_queue(job, now_ms)
        if isinstance(command, Retry):
            return self._retry(job, command, now_ms)
        return self._cancel(job, command, now_ms)

    def _retry(self, job: Plain, command: Retry, now_ms: int) -> str:
        if job["state"] != "FAILED":
            return "wrong_state"
        if job["current_attempt"] >= 1_000:
            return "too_many"
        more = job["current_attempt"] + command.attempts
        job["attempts"] = min(max(job["attempts"], more), 1_000)
        job["pardoned"] = job["lost"]
        job["retried"] += 1
        job |= {"reason": None, "outcome": None, "cancel": None, "end": "NONE", "expired": "NONE"}
        job |= {"finished_at": 0, "expires_at": 0, "total_until": 0}
        return self._to_the_queue(job, now_ms)

    def _cancel(self, job: Plain, command: Cancel, now_ms: int) -> str:
        if job["state"] in ("PENDING", "QUEUED"):
            job["cancel"] = (command.by, now_ms, now_ms, command.why)
            return self._finish(job, "FAILED", "CANCELLED", now_ms, end=job["end"])
        if job["state"] == "STARTED":
            grace = command.grace_ms
            if grace is None:
                grace = self._rules.cancel_grace_ms
            if job["cancel"] and job["cancel"][2] <= now_ms + grace:
                return "same"
            former = job["cancel"][3] if job["cancel"] else ""
            job["cancel"] = (command.by, now_ms, now_ms + grace, command.why or former)
            return "changed"
        return "same" if job["reason"] == "CANCELLED" else "wrong_state"

    # -- handlers

    def _about_handlers(self, job: Plain, command: Handle | Handled | HandlerGone) -> str:
        if isinstance(command, HandlerGone):
            if command.client not in job["handlers"]:
                return "same"
            job["handlers"].remove(command.client)
            return self._if_nobody_waits(job) if job["finished_at"] else "changed"
        name, among = command.client, job["handlers"]
        if command.group is not None:
            name, among = command.group, job["groups"]
        if isinstance(command, Handle):
            if name in among:
                return "same"
            among.append(name)
            job["expires_at"] = 0
            return "changed"
        if not job["finished_at"]:
            return "wrong_state"
        if name not in among:
            return "not_handler"
        among.remove(name)
        return "changed" if awaited(job) or job["persistent"] else "gone"


def _copied(job: Plain) -> Plain:
    return {key: list(value) if isinstance(value, list) else value for key, value in job.items()}
