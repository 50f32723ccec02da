"""What a job should do, told a second time: dictionaries and ifs, written from the design's words.

It knows the commands and the rules' settings, which are the vocabulary of both, and shares
nothing else with the state machine. Where the two differ, one of them has misread the design.
"""

from typing import Any, Final, TypeAlias

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Evict,
    Extend,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    Replace,
    ReportProgress,
    Retry,
    RunnerGone,
    RunNow,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    ActionRecord,
    AttemptRecord,
    Job,
    LogEntry,
    LogTail,
    Rules,
)
from packhorse_broker.jobs.terms import PLAIN_TERMS, Backoff, Terms

Plain: TypeAlias = dict[str, Any]
"""A job as a dictionary, its log included."""

ByRunner: TypeAlias = Release | TakeBack | ReportProgress | WriteLog | Complete | Fail | Extend

TEN_YEARS_MS: Final = 10 * 366 * 24 * 60 * 60 * 1000

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

OF_COURSE: Final = (
    "delayed_until",
    "run_until",
    "total_until",
    "timed_out",
    "pardoned",
    "retried",
)
"""The same of a record's course."""


def plain(job: Job, log: list[LogEntry]) -> Plain:
    """A record and its log in the model's terms; a place in the queue is compared elsewhere."""
    course, tail = job.course or PLAIN_COURSE, job.log_tail or LogTail()
    told: Plain = {name: getattr(job, name) for name in FIELDS}
    told |= {name: getattr(course, name) for name in OF_COURSE}
    told["state"] = job.state.name
    told["reason"] = job.reason.name if job.reason is not None else None
    told["end"] = job.end.name
    told["expired"] = course.expired.name
    told["handlers"] = list(job.handlers)
    told["groups"] = list(course.groups)
    told["terms"] = job.terms or PLAIN_TERMS
    told["progress"] = (job.progress.percent, job.progress.text) if job.progress else None
    cancel = course.cancel
    told["cancel"] = (cancel.by, cancel.at, cancel.until, cancel.why) if cancel else None
    told["log_bytes"] = (tail.size_bytes, tail.dropped_bytes)
    told["log"] = [
        (e.offset, e.time_ms, e.attempt, e.type, e.message, e.percent, e.by) for e in log
    ]
    return told


def plain_attempt(record: AttemptRecord) -> tuple[Any, ...]:
    """The record of an attempt in the model's terms."""
    return (
        record.attempt,
        record.runner,
        record.started_at,
        record.finished_at,
        record.end.name,
        record.expired.name,
        record.error,
        record.next_at,
    )


def plain_action(record: ActionRecord) -> tuple[Any, ...]:
    """The record of something done by hand in the model's terms."""
    return record.at, record.action, record.by, record.why, record.job, record.type


class Model:
    """All jobs that there are, and what each command makes of them."""

    def __init__(self, rules: Rules) -> None:
        self.jobs: dict[str, Plain] = {}
        self.attempts: dict[str, list[tuple[Any, ...]]] = {}
        """Of each job, the attempts that have ended without completing it, oldest first."""
        self.actions: list[tuple[Any, ...]] = []
        """Everything that was done by hand, oldest first."""
        self._rules = rules
        self._places: dict[str, int] = {}
        self._next_place = 0
        self._pieces: dict[str, list[list[int]]] = {}
        """Of each job's log: pieces that can be dropped, as [offset after it, bytes in it]. The
        last one is still being written."""

    def queue(self, job_type: str) -> list[str]:
        """Jobs of a type that can be claimed, the next one first."""
        waiting = [
            job
            for job in self.jobs.values()
            if job["state"] == "QUEUED" and job["type"] == job_type
        ]
        waiting.sort(key=lambda job: (-job["terms"].priority, self._places[job["id"]]))
        return [job["id"] for job in waiting]

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
        job["fingerprint"] = command.fingerprint
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
            idle = job["finished_at"] and not _awaited(job) and not job["persistent"]
            return "gone" if idle else "same"
        if isinstance(command, Replace):
            return self._replace(job, command.by, now_ms)
        assert isinstance(command, Handle | Handled | HandlerGone)
        return self._about_handlers(job, command)

    def _replace(self, job: Plain, by: Create, now_ms: int) -> str:
        if job["state"] not in ("PENDING", "QUEUED") or job["fence"]:
            return "wrong_state"
        self._add_handlers(job, by)
        job["delayed_until"] = 0
        self._fill(job, by, now_ms)
        return "changed"

    # -- the runner

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
        if job["total_until"] and until > job["total_until"]:
            until = job["total_until"]
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

    def _record(
        self, job: Plain, end: str, now_ms: int, *, error: bytes | None = None, next_at: int = 0
    ) -> None:
        self.attempts[job["id"]].append(
            (
                job["current_attempt"],
                job["runner"],
                job["started_at"],
                now_ms,
                end,
                job["expired"],
                error,
                next_at,
            )
        )

    def _log(
        self,
        job: Plain,
        kind: str,
        message: str,
        percent: int | None,
        now_ms: int,
        by: str | None = None,
    ) -> None:
        """One line more; of what is too much, whole pieces go, or single lines by their number."""
        log, pieces = job["log"], self._pieces[job["id"]]
        size, dropped = job["log_bytes"]
        log.append((job["log_end"], now_ms, job["current_attempt"], kind, message, percent, by))
        job["log_end"] += 1
        bytes_more = len(message.encode())
        size += bytes_more
        pieces[-1][0] = job["log_end"]
        pieces[-1][1] += bytes_more
        if pieces[-1][1] * 16 >= max(self._rules.max_log_bytes, 1):
            pieces.append([job["log_end"], 0])
        if len(log) > self._rules.max_log_entries:
            job["log_first"] += 1
        while len(pieces) > 1 and (
            pieces[0][0] <= job["log_first"]
            or sum(piece[1] for piece in pieces) > self._rules.max_log_bytes
        ):
            offset, bytes_less = pieces.pop(0)
            job["log_first"] = max(job["log_first"], offset)
            dropped += bytes_less
        while log and log[0][0] < job["log_first"]:
            del log[0]
        job["log_bytes"] = (size, dropped)

    def _to_the_queue(self, job: Plain, now_ms: int, *, keeps_place: bool = False) -> str:
        if not keeps_place:
            self._places[job["id"]] = self._next_place
            self._next_place += 1
        job["state"] = "QUEUED"
        job["queued_at"] = now_ms
        job["delayed_until"] = 0
        job["run_until"] = 0
        if job["terms"].total_ms and not job["total_until"]:
            job["total_until"] = now_ms + job["terms"].total_ms
        return "changed"

    # -- time

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

    # -- the end

    def _finish(self, job: Plain, state: str, reason: str | None, now_ms: int, *, end: str) -> str:
        job["state"] = state
        job["reason"] = reason
        job["end"] = end
        job["finished_at"] = now_ms
        job["delayed_until"] = 0
        job["run_until"] = 0
        return self._if_nobody_waits(job)

    def _if_nobody_waits(self, job: Plain) -> str:
        if _awaited(job) or job["persistent"]:
            return "changed"
        keep = job["terms"].keep_ms
        if keep is None:
            retention = self._rules.retention
            keep = retention.complete_ms if job["state"] == "COMPLETE" else retention.failed_ms
        if keep == 0:
            return "gone"
        job["expires_at"] = job["finished_at"] + keep
        return "changed"

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
        return "changed" if _awaited(job) or job["persistent"] else "gone"


def _copied(job: Plain) -> Plain:
    return {key: list(value) if isinstance(value, list) else value for key, value in job.items()}


def _awaited(job: Plain) -> bool:
    return bool(job["handlers"] or job["groups"])


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
