"""What a job should do, told a second time: dictionaries and ifs, written from the design's words.

It knows the commands, which are the vocabulary of both, and shares nothing else with the state
machine. Where the two differ, one of them has misread the design.
"""

from typing import Any, Final, TypeAlias

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.model import Job, LogEntry

Plain: TypeAlias = dict[str, Any]
"""A job as a dictionary, its log included."""

FIELDS: Final = (
    "id",
    "type",
    "version",
    "attempts",
    "current_attempt",
    "persistent",
    "runner",
    "token",
    "fence",
    "key",
    "created_by",
    "created_at",
    "queued_at",
    "started_at",
    "finished_at",
    "expires_at",
    "failed",
    "lost",
    "released",
    "log_first",
    "log_end",
    "fingerprint",
    "body",
    "outcome",
)
"""Fields that are the same word and the same value in a record and in the model."""


def plain(job: Job, log: list[LogEntry]) -> Plain:
    """A record and its log in the model's terms; a place in the queue is compared elsewhere."""
    told: Plain = {name: getattr(job, name) for name in FIELDS}
    told["state"] = job.state.name
    told["reason"] = job.reason.name if job.reason is not None else None
    told["end"] = job.end.name
    told["handlers"] = list(job.handlers)
    told["progress"] = (job.progress.percent, job.progress.text) if job.progress else None
    told["log"] = [
        (entry.offset, entry.time_ms, entry.attempt, entry.type, entry.message, entry.percent)
        for entry in log
    ]
    return told


class Model:
    """All jobs that there are, and what each command makes of them."""

    def __init__(self, *, retention_ms: int, log_cap: int) -> None:
        self.jobs: dict[str, Plain] = {}
        self._places: dict[str, int] = {}
        self._next_place = 0
        self._retention_ms = retention_ms
        self._log_cap = log_cap

    def queue(self, job_type: str) -> list[str]:
        """Jobs of a type that can be claimed, the next one first."""
        waiting = [
            job["id"]
            for job in self.jobs.values()
            if job["state"] == "QUEUED" and job["type"] == job_type
        ]
        return sorted(waiting, key=self._places.__getitem__)

    def draw(self, job_type: str, claims: list[Claim], now_ms: int) -> list[str]:
        """Claims from the head of a queue: the jobs that got a runner, in the claims' order."""
        taken = self.queue(job_type)[: len(claims)]
        for job_id, claim in zip(taken, claims, strict=False):
            self.apply(job_id, claim, now_ms)
        return taken

    def apply(self, job_id: str, command: Command, now_ms: int) -> str:
        """`changed`, `same` (a repetition), `gone`, or the code of a refusal."""
        job = self.jobs.get(job_id)
        if isinstance(command, Create):
            return self._create(job, command, now_ms)
        if job is None:
            return "not_found"
        before = dict(job, handlers=list(job["handlers"]), log=list(job["log"]))
        told = self._command(job, command, now_ms)
        if told == "gone":
            del self.jobs[job_id]
        elif told == "changed":
            job["version"] += 1
        else:
            assert job == before, "only what changes a job may touch it"
        return told

    def _create(self, job: Plain | None, command: Create, now_ms: int) -> str:
        if job is not None:
            if command.fingerprint is None or command.fingerprint != job["fingerprint"]:
                return "conflict"
            if command.handler is None or command.handler in job["handlers"]:
                return "same"
            return self.apply(command.id, Handle(command.handler), now_ms)
        self.jobs[command.id] = {
            "id": command.id,
            "type": command.type,
            "state": "QUEUED",
            "reason": None,
            "version": 1,
            "attempts": command.attempts,
            "current_attempt": 0,
            "persistent": command.persistent,
            "runner": None,
            "token": None,
            "fence": 0,
            "end": "NONE",
            "handlers": [] if command.handler is None else [command.handler],
            "key": command.key,
            "created_by": command.created_by,
            "created_at": now_ms,
            "queued_at": now_ms,
            "started_at": 0,
            "finished_at": 0,
            "expires_at": 0,
            "failed": 0,
            "lost": 0,
            "released": 0,
            "progress": None,
            "log": [],
            "log_first": 0,
            "log_end": 0,
            "fingerprint": command.fingerprint,
            "body": command.body,
            "outcome": None,
        }
        self._to_the_end_of_the_queue(command.id)
        return "changed"

    def _command(self, job: Plain, command: Command, now_ms: int) -> str:
        if isinstance(command, Claim):
            return self._claim(job, command, now_ms)
        if isinstance(command, Release | TakeBack | ReportProgress | WriteLog | Complete | Fail):
            return self._by_the_runner(job, command, now_ms)
        if isinstance(command, RunnerGone):
            return self._runner_gone(job, command, now_ms)
        if isinstance(command, Handle):
            if command.client in job["handlers"]:
                return "same"
            job["handlers"].append(command.client)
            job["expires_at"] = 0
            return "changed"
        if isinstance(command, Handled):
            return self._handled(job, command)
        if isinstance(command, HandlerGone):
            return self._handler_gone(job, command)
        if isinstance(command, Remove):
            return "gone"
        assert isinstance(command, Expire)
        if job["state"] != "FAILED":
            return "wrong_state"
        return "gone" if 0 < job["expires_at"] <= now_ms else "same"

    # -- the runner

    def _claim(self, job: Plain, command: Claim, now_ms: int) -> str:
        if job["state"] != "QUEUED":
            return "wrong_state"
        job["state"] = "STARTED"
        job["runner"] = command.client
        job["fence"] += 1
        job["token"] = job["fence"].to_bytes(8, "big") + command.nonce
        job["current_attempt"] += 1
        job["started_at"] = now_ms
        job["progress"] = None
        job["end"] = "NONE"
        return "changed"

    def _by_the_runner(
        self,
        job: Plain,
        command: Release | TakeBack | ReportProgress | WriteLog | Complete | Fail,
        now_ms: int,
    ) -> str:
        if (job["runner"], job["token"]) != (command.client, command.token):
            return "stale_claim"
        if job["state"] != "STARTED":
            ended_so = {Release: "RELEASED", Complete: "COMPLETED", Fail: "FAILED"}
            return "same" if ended_so.get(type(command)) == job["end"] else "stale_claim"
        if isinstance(command, ReportProgress):
            percent, text = command.progress.percent, command.progress.text
            job["progress"] = (percent, text)
            self._log(job, "progress", text, percent, now_ms)
            return "changed"
        if isinstance(command, WriteLog):
            for message in command.messages:
                self._log(job, "log", message, None, now_ms)
            return "changed"
        if isinstance(command, Release | TakeBack):
            job["released"] += 1
            job["current_attempt"] -= 1
            end = "RELEASED" if isinstance(command, Release) else "TAKEN_BACK"
            return self._back_to_the_queue(job, end, now_ms)
        if isinstance(command, Complete):
            return self._finish(job, "COMPLETE", "COMPLETED", command.outcome, now_ms)
        job["failed"] += 1
        if command.retry and job["current_attempt"] < job["attempts"]:
            self._to_the_end_of_the_queue(job["id"])
            return self._back_to_the_queue(job, "FAILED", now_ms)
        job["reason"] = "FAILED"
        return self._finish(job, "FAILED", "FAILED", command.outcome, now_ms)

    def _runner_gone(self, job: Plain, command: RunnerGone, now_ms: int) -> str:
        if job["state"] != "STARTED":
            return "wrong_state"
        if job["runner"] != command.client:
            return "same"
        job["lost"] += 1
        if job["current_attempt"] < job["attempts"]:
            return self._back_to_the_queue(job, "LOST", now_ms)
        job["reason"] = "RUNNER_TIMEOUT"
        return self._finish(job, "FAILED", "LOST", None, now_ms)

    def _log(self, job: Plain, kind: str, message: str, percent: int | None, now_ms: int) -> None:
        entry = (job["log_end"], now_ms, job["current_attempt"], kind, message, percent)
        job["log"].append(entry)
        job["log_end"] += 1
        if len(job["log"]) > self._log_cap:
            del job["log"][0]
            job["log_first"] += 1

    def _to_the_end_of_the_queue(self, job_id: str) -> None:
        self._places[job_id] = self._next_place
        self._next_place += 1

    def _back_to_the_queue(self, job: Plain, end: str, now_ms: int) -> str:
        job["state"] = "QUEUED"
        job["end"] = end
        job["queued_at"] = now_ms
        return "changed"

    # -- the end

    def _finish(self, job: Plain, state: str, end: str, outcome: bytes | None, now_ms: int) -> str:
        job["state"] = state
        job["end"] = end
        job["outcome"] = outcome
        job["finished_at"] = now_ms
        return self._if_nobody_waits(job)

    def _if_nobody_waits(self, job: Plain) -> str:
        if not job["handlers"] and not job["persistent"]:
            if job["state"] == "COMPLETE":
                return "gone"
            job["expires_at"] = job["finished_at"] + self._retention_ms
        return "changed"

    def _handled(self, job: Plain, command: Handled) -> str:
        if not job["finished_at"]:
            return "wrong_state"
        if command.client not in job["handlers"]:
            return "not_handler"
        job["handlers"].remove(command.client)
        return "changed" if job["handlers"] or job["persistent"] else "gone"

    def _handler_gone(self, job: Plain, command: HandlerGone) -> str:
        if command.client not in job["handlers"]:
            return "same"
        job["handlers"].remove(command.client)
        return self._if_nobody_waits(job) if job["finished_at"] else "changed"
