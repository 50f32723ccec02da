"""The model of what runners and the passing of time make of a job."""

from typing import Final, TypeAlias

from packhorse_broker.jobs.commands import (
    Claim,
    Complete,
    Extend,
    Fail,
    Release,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.terms import Backoff
from tests.jobs.ledger import Ledger, Plain

ByRunner: TypeAlias = Release | TakeBack | ReportProgress | WriteLog | Complete | Fail | Extend

TEN_YEARS_MS: Final = 10 * 366 * 24 * 60 * 60 * 1000


class Running(Ledger):
    """Claims, attempts and how they end, timeouts."""

    def _claim(self, job: Plain, command: Claim, now_ms: int) -> str:
        if job["state"] != "QUEUED":
            return "wrong_state"
        run_ms = job["terms"].run_ms
        job["state"] = "STARTED"
        job["runner"] = command.client
        job["fence"] += 1
        job["token"] = job["fence"].to_bytes(8, "big") + command.nonce
        job["current_attempt"] += 1
        job["started_at"] = now_ms
        job["progress"] = None
        job["end"] = "NONE"
        job["expired"] = "NONE"
        job["run_until"] = now_ms + run_ms if run_ms else 0
        return "changed"

    def _by_the_runner(self, job: Plain, command: ByRunner, now_ms: int, chance: float) -> str:
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
        if isinstance(command, Extend):
            return self._extend(job, command, now_ms)
        if isinstance(command, Complete):
            job["outcome"] = command.outcome
            return self._finish(job, "COMPLETE", None, now_ms, end="COMPLETED")
        if isinstance(command, Fail):
            job["failed"] += 1
            wait = command.retry_in_ms
            if wait is None:
                wait = _backoff(job, chance)
            return self._spent(
                job,
                "FAILED",
                now_ms,
                wait,
                error=command.outcome,
                last=not command.retry,
            )
        job["released"] += 1
        if isinstance(command, Release):
            self._record(job, "RELEASED", now_ms)
        job["current_attempt"] -= 1
        end = "RELEASED" if isinstance(command, Release) else "TAKEN_BACK"
        if job["cancel"]:
            return self._finish(job, "FAILED", "CANCELLED", now_ms, end=end)
        job["end"] = end
        return self._to_the_queue(job, now_ms, keeps_place=True)

    def _extend(self, job: Plain, command: Extend, now_ms: int) -> str:
        if not job["terms"].run_ms:
            return "same"
        until = now_ms + command.run_ms
        if until == job["run_until"]:
            return "same"
        job["run_until"] = until
        return "changed"

    def _runner_gone(self, job: Plain, command: RunnerGone, now_ms: int, chance: float) -> str:
        if job["state"] != "STARTED":
            return "wrong_state"
        if job["runner"] != command.client:
            return "same"
        job["lost"] += 1
        limit = job["terms"].lost_limit
        if limit is None:
            limit = self._rules.lost_limit
        set_aside = limit and job["lost"] - job["pardoned"] >= limit
        return self._spent(
            job,
            "LOST",
            now_ms,
            _backoff(job, chance),
            reason="RUNNER_TIMEOUT",
            last=set_aside,
            keeps_place=True,
        )

    def _spent(
        self,
        job: Plain,
        end: str,
        now_ms: int,
        wait: int,
        *,
        reason: str = "FAILED",
        error: bytes | None = None,
        last: bool = False,
        keeps_place: bool = False,
    ) -> str:
        """An attempt is over; is there another one, and when?"""
        if last or job["cancel"] or job["current_attempt"] >= job["attempts"]:
            self._record(job, end, now_ms, error=error)
            job["outcome"] = error
            reason = "CANCELLED" if job["cancel"] else reason
            return self._finish(job, "FAILED", reason, now_ms, end=end)
        job["end"] = end
        if not wait:
            self._record(job, end, now_ms, error=error)
            return self._to_the_queue(job, now_ms, keeps_place=keeps_place)
        self._record(job, end, now_ms, error=error, next_at=now_ms + wait)
        job["state"] = "PENDING"
        job["run_until"] = 0
        job["delayed_until"] = now_ms + wait
        return "changed"

    def _due(self, job: Plain, now_ms: int, chance: float) -> str:
        if job["finished_at"]:
            return "gone" if 0 < job["expires_at"] <= now_ms else "same"
        state = job["state"]
        if state == "STARTED" and job["cancel"] and job["cancel"][2] <= now_ms:
            self._record(job, "CANCELLED", now_ms)
            return self._finish(job, "FAILED", "CANCELLED", now_ms, end="CANCELLED")
        if 0 < job["total_until"] <= now_ms:
            job["expired"] = "TOTAL"
            end = job["end"]
            if state == "STARTED":
                end = "TIMED_OUT"
                job["timed_out"] += 1
                self._record(job, end, now_ms)
            return self._finish(job, "FAILED", "JOB_TIMEOUT", now_ms, end=end)
        if state == "STARTED" and 0 < job["run_until"] <= now_ms:
            job["expired"] = "RUN"
            job["timed_out"] += 1
            wait = _backoff(job, chance)
            return self._spent(job, "TIMED_OUT", now_ms, wait, reason="JOB_TIMEOUT")
        idle_ms = job["terms"].idle_ms
        if state == "QUEUED" and idle_ms and job["queued_at"] + idle_ms <= now_ms:
            job["expired"] = "IDLE"
            return self._finish(job, "FAILED", "JOB_TIMEOUT", now_ms, end=job["end"])
        if state == "PENDING" and job["delayed_until"] <= now_ms:
            return self._to_the_queue(job, now_ms)
        return "same"


def _backoff(job: Plain, chance: float) -> int:
    """The wait after the attempt that has just ended."""
    backoff: Backoff | None = job["terms"].backoff
    if backoff is None:
        return 0
    spent = job["current_attempt"]
    wait: float = backoff.delay_ms
    if backoff.growth.name == "LINEAR":
        wait *= spent
    elif backoff.growth.name == "EXPONENTIAL":
        for _ in range(spent - 1):
            wait *= backoff.factor_percent / 100
    elif backoff.growth.name == "LIST":
        steps = list(backoff.delays_ms)
        wait = 0 if not steps else steps[-1] if spent > len(steps) else steps[spent - 1]
    if backoff.max_ms and wait > backoff.max_ms:
        wait = backoff.max_ms
    if wait > TEN_YEARS_MS:
        wait = TEN_YEARS_MS
    low, high = {
        "NONE": (wait, wait),
        "FULL": (0, wait),
        "EQUAL": (wait / 2, wait),
        "SHARE": (
            wait - wait * backoff.jitter_percent / 100,
            wait + wait * backoff.jitter_percent / 100,
        ),
    }[backoff.jitter.name]
    return round(low + (high - low) * chance)
