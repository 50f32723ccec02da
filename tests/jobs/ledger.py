"""What the model keeps of jobs, and the few things that befall them from several sides."""

from typing import Any, TypeAlias

from packhorse_broker.jobs.model import Rules

Plain: TypeAlias = dict[str, Any]
"""A job as a dictionary, its log included."""


class Ledger:
    """All jobs that there are, their queues, attempts, logs and ends.

    Each method that changes a job says `changed`, or `gone` where the job is no more.
    """

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

    def _finish(self, job: Plain, state: str, reason: str | None, now_ms: int, *, end: str) -> str:
        job["state"] = state
        job["reason"] = reason
        job["end"] = end
        job["finished_at"] = now_ms
        job["delayed_until"] = 0
        job["run_until"] = 0
        return self._if_nobody_waits(job)

    def _if_nobody_waits(self, job: Plain) -> str:
        if awaited(job) or job["persistent"]:
            return "changed"
        keep = job["terms"].keep_ms
        if keep is None:
            retention = self._rules.retention
            keep = retention.complete_ms if job["state"] == "COMPLETE" else retention.failed_ms
        if keep == 0:
            return "gone"
        job["expires_at"] = job["finished_at"] + keep
        return "changed"


def awaited(job: Plain) -> bool:
    return bool(job["handlers"] or job["groups"])
