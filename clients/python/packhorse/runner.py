"""Runs claims, each from the push to the broker's word that its end was recorded.

A task runs the function and all around it. It ends with them: how the attempt ended is sent for
it, and the answer needs no task.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from packhorse.errors import (
    ClientClosed,
    InvalidValue,
    NotFound,
    PackhorseError,
    StaleClaim,
    TooLarge,
)
from packhorse.execution import Executor, Run
from packhorse.failures import CANCELLED, unfit
from packhorse.functions import JobFunction, Terms
from packhorse.link import MakeError
from packhorse.places import Places
from packhorse.requests import quietly
from packhorse.session import RunnerHooks, Session
from packhorse_protocol.messages import (
    Cancellation,
    Claim,
    ClaimRef,
    Completion,
    Ended,
    Failure,
    Revocation,
)

CANCEL_S: Final = 1.0
"""Seconds that a cancelled function has to clean up before its claim is given back regardless."""

RELEASE_S: Final = 5.0
"""Seconds to wait for the broker to take claims back; those it did not are lost by timeout."""

_log = logging.getLogger("packhorse")


class Runner:
    """`start`, then jobs run as they are pushed; `drain` and `release` to end.

    As many run at once as there are places, in all and of each type; other claims wait here.
    """

    def __init__(
        self,
        session: Session,
        executor: Executor,
        functions: Mapping[str, JobFunction],
        *,
        concurrency: int,
        prefetch: int = 0,
    ) -> None:
        self._session = session
        self._executor = executor
        self._functions = functions
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._places = Places(functions, concurrency=concurrency, prefetch=prefetch)
        self._runs: dict[bytes, Run] = {}
        self._returning: dict[bytes, asyncio.Future[Ended]] = {}
        """Claims that are given back, by token, until the broker has them: it may push them again
        meanwhile."""
        self._taking = False
        self._draining = False
        self._idle = asyncio.Event()
        """Set whenever the last claim is over."""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[MakeError] = self._loop.create_future()
        """Set when the session is over and no job will come any more."""
        session.attach(
            RunnerHooks(
                connected=self._connected,
                claimed=self._claimed,
                revoked=self._revoked,
                ended=self._ended,
                cancelling=self._cancelling,
            )
        )

    async def start(self) -> None:
        """Asks for jobs. Raises `Forbidden` if the client may not run any."""
        self._taking = True
        try:
            await self._take()
        except PackhorseError:
            self._taking = False
            raise

    async def claim(self, job_id: str) -> None:
        """Claims exactly this job and runs it; nothing happens if it runs here already.

        Raises `NotFound`, `WrongState`, `InvalidValue` for a type without a function, and
        `ClientClosed` once it drains.
        """
        if self._draining:
            raise ClientClosed("the worker is stopping: it takes no more jobs")
        # What would have to be given back is not claimed at all.
        job_type = (await self._session.requests.get.submit(job_id)).type
        if job_type not in self._functions:
            raise InvalidValue(f"job {job_id}: this worker has no function for type {job_type!r}")
        try:
            claim = await self._session.requests.claim.submit(job_id)
        except PackhorseError:
            # The answer to a first try may have been lost with its connection, not the claim; or
            # it was fetched ahead.
            runs = (run for run in self._runs.values() if not run.given_up)
            run = next((run for run in runs if run.claim.job == job_id), None)
            if run is None:
                raise
        else:
            self._claimed([claim])
            run = self._runs.get(claim.token)
        if run is not None and self._places.promote(run):
            self._begin(run)

    async def drain(self) -> None:
        """Takes nothing more, gives back what has not begun, and returns when no job runs."""
        await self._take_no_more()
        if self._runs:
            self._idle.clear()
            await self._idle.wait()

    async def release(self) -> None:
        """Ends what runs and gives its claims back, which costs no attempt.

        Returns soon also where the broker is away: it will miss this client, and give its jobs
        to others.
        """
        await self._take_no_more()
        runs = [run for run in self._runs.values() if run.phase != "reporting"]
        for run in runs:
            run.give_up()
        if runs:
            await asyncio.wait([run.task for run in runs], timeout=CANCEL_S)
        for run in runs:
            self._give_back(run.claim)
        ending: list[asyncio.Future[Any]] = list(self._returning.values())
        ending += [run.ended for run in self._runs.values() if run.phase == "reporting"]
        await self._settled(ending)
        await self._executor.close()

    async def _settled(self, futures: Sequence["asyncio.Future[Any]"]) -> None:
        """Waits for the broker's answers, if it is there to give any, and not for long."""
        if futures and self._session.connected:
            await asyncio.wait(futures, timeout=RELEASE_S)

    async def _take_no_more(self) -> None:
        """Nor begins what waits: that is given back."""
        self._draining = True
        if self._taking:
            self._taking = False
            taken = self._take()
            quietly(taken)
            # First, so that the broker does not push again what it gets back.
            await self._settled([taken])
        for run in self._places.drop_all():
            self._give_back_unbegun(run)

    # -- what the session tells --------------------------------------------------------------

    def _connected(self, lost: bool) -> None:
        # What this client still holds of it is pushed again.
        for run in self._places.drop_all():
            self.over(run)
        if lost:
            self._give_up_all()
        if self._taking:
            quietly(self._take())

    def _claimed(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if self._returning and claim.token in self._returning:
                continue
            known = self._runs.get(claim.token)
            if known is not None:  # pushed again after a resume
                known.deadline.move(claim.remaining_ms)
                continue
            function = self._functions.get(claim.type)
            if function is None or self._draining:
                self._give_back(claim)
                continue
            run = Run(claim, function, self._session)
            self._runs[claim.token] = run
            if self._places.enter(run):
                self._begin(run)
            elif not self._places.wait(run):
                self._give_back_unbegun(run)
        # Functions that need not wait end before it.
        self._session.requests.pump_soon()

    def _begin(self, run: Run) -> None:
        # Not `asyncio.create_task`: that asks for the loop, which is a call into the system.
        run.task = self._loop.create_task(self._run(run), name=f"packhorse-job-{run.claim.job}")

    def _cancelling(self, cancellations: Sequence[Cancellation]) -> None:
        for cancellation in cancellations:
            run = self._runs.get(cancellation.token)
            if run is None:
                continue
            if self._places.drop(run):
                self._give_back_unbegun(run)
            else:
                run.cancel(cancellation)

    def _revoked(self, revocations: Sequence[Revocation]) -> None:
        for revocation in revocations:
            run = self._runs.get(revocation.token)
            if run is not None:
                _log.warning("job %s was taken from us: %s", run.claim.job, revocation.reason)
                self._give_up(run)

    def _ended(self, error: MakeError) -> None:
        self._give_up_all()
        if not self.ended.done():
            self.ended.set_result(error)

    def _give_up_all(self) -> None:
        for run in list(self._runs.values()):
            self._give_up(run)

    def _give_up(self, run: Run) -> None:
        if self._places.drop(run):
            self.over(run)
        else:
            run.give_up()

    # -- one job -----------------------------------------------------------------------------

    async def _run(self, run: Run) -> None:
        told = False
        try:
            if run.given_up:  # before it began
                return
            end = await self._executor.execute(run)
            if not run.given_up:
                run.phase = "reporting"
                if run.reports is not None:
                    await run.reports.flushed()
                self._tell(run, end)
                told = True
        finally:
            # Neither told nor given up, the whole loop is about to end.
            if self._places.leave(run) and (told or run.given_up):
                self._begin_waiting()
            if not told:
                self.over(run)

    def _begin_waiting(self) -> None:
        """Those that have a place now. Without a connection none: by the time that it is back the
        broker may have given them to others."""
        if self._draining or not self._session.connected:
            return
        while (run := self._places.next()) is not None:
            if run.deadline.remaining_s == 0:
                self._places.leave(run)
                self._give_back_unbegun(run)
            else:
                self._begin(run)

    def _tell(self, run: Run, end: Completion | Failure) -> None:
        requests = self._session.requests
        if isinstance(end, Completion):
            requests.complete.submit_for(_Told(self, run), end)
        else:
            _log_failure(run.claim, end)
            requests.fail.submit_for(_Told(self, run), end)

    def refused(self, run: Run, error: BaseException) -> None:
        """The broker has not recorded how a run ended."""
        claim = run.claim
        if isinstance(error, StaleClaim | NotFound):
            _log.warning("job %s ended too late: its claim was over", claim.job)
        elif isinstance(error, TooLarge):
            _log.error("job %s: the broker takes no such result: %s", claim.job, error)
            quietly(self._session.requests.fail.submit(unfit(claim, error)))
        else:
            _log.error("the end of job %s was not taken: %s", claim.job, error)
        self.over(run)

    def over(self, run: Run) -> None:
        """Nothing of a run is left to do or to say."""
        del self._runs[run.claim.token]
        run.end()
        if not self._runs:
            self._idle.set()

    def _give_back_unbegun(self, run: Run) -> None:
        self._give_back(run.claim)
        self.over(run)

    def _give_back(self, claim: Claim) -> None:
        ref = ClaimRef(job=claim.job, token=claim.token)
        self._returning[claim.token] = returned = self._session.requests.release.submit(ref)
        quietly(returned)
        returned.add_done_callback(lambda _: self._returning.pop(claim.token, None))

    def _take(self) -> "asyncio.Future[Any]":
        if not self._taking:
            return self._session.requests.take.submit(({}, 0, None))
        terms = {function.type: function.terms for function in self._functions.values()}
        types = {name: self._most(found) for name, found in terms.items()}
        weights = {name: found.weight for name, found in terms.items() if found.weight != 1}
        credit = self._concurrency + self._prefetch
        return self._session.requests.take.submit((types, credit, weights or None))

    def _most(self, terms: Terms) -> int:
        """How many claims of a type to hold at once: of what is fetched ahead a type that is
        bounded has its share."""
        most = min(terms.concurrency or self._concurrency, self._concurrency)
        return most + self._prefetch * most // self._concurrency


class _Told:
    """Gets the broker's answer to how a run ended: a future, and a task that awaits it, would
    cost more than the rest of most runs."""

    __slots__ = ("_run", "_runner")

    def __init__(self, runner: Runner, run: Run) -> None:
        self._runner = runner
        self._run = run

    def done(self) -> bool:
        return self._run.phase == "over"

    def set_result(self, _: Ended) -> None:
        self._runner.over(self._run)

    def set_exception(self, error: BaseException) -> None:
        self._runner.refused(self._run, error)


def _log_failure(claim: Claim, failure: Failure) -> None:
    """One line, whatever the error's message looks like; the traceback is with the job."""
    if failure.error.type == CANCELLED:
        _log.info("job %s (%s) was cancelled", claim.job, claim.type)
        return
    _log.warning(
        "job %s (%s) failed, attempt %d of %d%s: %s: %s",
        claim.job,
        claim.type,
        claim.attempt,
        claim.attempts,
        "" if failure.retry else ", not to be tried again",
        failure.error.type,
        " ".join(failure.error.message.split()),
    )
