"""Functions in processes: what they come to, what they report, and how they are stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import pytest

from packhorse import InvalidValue, Worker
from packhorse.processes import ProcessDied
from packhorse_protocol.messages import (
    Claims,
    Completion,
    Done,
    Extend,
    Extended,
    Failure,
    ReportProgress,
    WriteLog,
)
from tests.client import process_jobs
from tests.client.scripted import Peer, ScriptedBroker
from tests.client.serving import cancel, claim, ended, failure, result, revoke, serving


@asynccontextmanager
async def in_process(
    scripted: ScriptedBroker, function: Callable[..., Any], **options: Any
) -> AsyncIterator[Peer]:
    worker = Worker(dial=scripted.dial, concurrency=2)
    worker.job("t", process=True, **options)(function)
    async with serving(scripted, worker) as peer:
        yield peer


async def test_a_function_runs_in_another_process_which_is_used_again(
    scripted: ScriptedBroker,
) -> None:
    async with in_process(scripted, process_jobs.pid) as peer:
        pids = {msgpack.unpackb(await result(peer, claim(job))) for job in "abc"}
    assert len(pids) == 1
    assert os.getpid() not in pids


async def test_a_process_ends_with_its_worker(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.pid) as peer:
        pid = msgpack.unpackb(await result(peer, claim("a")))
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_function_of_the_context_alone_takes_any_bytes(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.payload) as peer:
        assert msgpack.unpackb(await result(peer, claim("a", b"\xc1 raw"))) == b"\xc1 raw"


async def test_arguments_are_checked_in_the_process(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.area) as peer:
        assert msgpack.unpackb(await result(peer, claim("a", {"side": 4}))) == 16
        failed = await failure(peer, claim("b", {"side": "four"}))
    assert (failed.error.type, failed.retry) == ("PayloadError", False)
    assert "square: Expected `int`, got `str`" in failed.error.message


@pytest.mark.parametrize(
    ("function", "error", "message", "retry"),
    [
        (process_jobs.wrong, "ValueError", "no such scene", True),
        (process_jobs.gone, "Fail", "gone for good", False),
        (process_jobs.too_far, "packhorse.InvalidValue", "progress: 101", True),
        (process_jobs.unpackable, "PayloadError", "result: can't be packed", False),
        (process_jobs.leaves, "packhorse.ProcessDied", "the process ended with exit code 3", True),
        (process_jobs.killed, "packhorse.ProcessDied", "the process was killed by SIGKILL", True),
    ],
)
async def test_what_goes_wrong_fails_the_job_only(
    scripted: ScriptedBroker, function: Callable[..., Any], error: str, message: str, retry: bool
) -> None:
    async with in_process(scripted, function) as peer:
        for job in "ab":
            failed = await failure(peer, claim(job))
            assert (failed.error.type, failed.retry) == (error, retry)
            assert message in failed.error.message


async def test_a_killed_process_fails_its_job_only(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial, concurrency=2)
    worker.job("endless", process=True, concurrency=2)(process_jobs.endless)
    worker.job("pid", process=True)(process_jobs.pid)
    async with serving(scripted, worker) as peer:
        pid = msgpack.unpackb(await result(peer, claim("a", job_type="pid")))
        running = [claim(job, job_type="endless") for job in "bc"]
        peer.send(Claims(claims=tuple(running)))
        begun = 0
        while begun < 2:
            log = await peer.expect(WriteLog)
            begun += len(log.reports)
            peer.ok(log, *[Done()] * len(log.reports))
        os.kill(pid, signal.SIGKILL)
        end = await ended(peer)
        assert isinstance(end, Failure)
        [other] = [held for held in running if held.job != end.job]
        peer.send(cancel(other))
        end = await ended(peer)
        assert isinstance(end, Failure)
        assert (end.job, end.error.type) == (other.job, "Cancelled")


async def test_an_idle_process_that_was_killed_is_replaced(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.pid) as peer:
        first = msgpack.unpackb(await result(peer, claim("a")))
        ending = os.pidfd_open(first)
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(ending, gone.set)
        os.kill(first, signal.SIGKILL)
        await gone.wait()
        loop.remove_reader(ending)
        os.close(ending)
        assert msgpack.unpackb(await result(peer, claim("b"))) != first


async def test_retry_rules_hold_in_the_process(scripted: ScriptedBroker) -> None:
    rules = {LookupError: "never", ValueError: "90s"}
    async with in_process(scripted, process_jobs.wrong, retry=rules) as peer:
        failed = await failure(peer, claim("a"))
    assert (failed.retry, failed.retry_in_ms) == (True, 90_000)


async def test_rules_for_processes_that_die(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.leaves, retry={ProcessDied: "never"}) as peer:
        assert not (await failure(peer, claim("a"))).retry


async def test_reports_arrive_in_order(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.reports) as peer:
        peer.send(Claims(claims=(claim("a", attempt=2, attempts=5),)))
        said: list[object] = []
        while len(said) < 3:
            request = await peer.next()
            assert isinstance(request, WriteLog | ReportProgress)
            if isinstance(request, WriteLog):
                said += [line for report in request.reports for line in report.messages]
            else:
                said += [(report.percent, report.text) for report in request.reports]
            peer.ok(request, *[Done()] * len(request.reports))
        assert said == ["one", (50, "half"), "two"]
        end = await ended(peer)
        assert isinstance(end, Completion)
        assert msgpack.unpackb(end.result) == "a 2/5"


async def test_the_deadline_is_known_and_moved(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.extends) as peer:
        held = claim("a", remaining_ms=60_000)
        peer.send(Claims(claims=(held,)))
        extend = await peer.expect(Extend)
        assert [(asked.job, asked.run_ms) for asked in extend.claims] == [("a", 3_600_000)]
        peer.ok(extend, Extended(remaining_ms=3_600_000))
        end = await ended(peer)
        assert isinstance(end, Completion)
        assert msgpack.unpackb(end.result) == [True, True, True]


async def test_an_error_reaches_the_process(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.asks) as peer:
        peer.send(Claims(claims=(claim("a"),)))
        peer.refuse(await peer.expect(Extend), "forbidden")
        end = await ended(peer)
        assert isinstance(end, Completion)
        assert "it is forbidden" in msgpack.unpackb(end.result)


async def test_a_module_that_can_not_be_imported_there(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is here already, and gone when the process looks for it."""
    module = ModuleType("here_only")
    exec("def work(): pass", vars(module))  # noqa: S102 - a function of a module without a file
    monkeypatch.setitem(sys.modules, "here_only", module)
    async with in_process(scripted, module.work) as peer:
        failed = await failure(peer, claim("a"))
    assert (failed.error.type, failed.retry) == ("ModuleNotFoundError", True)
    assert "here_only" in failed.error.message


async def begun(peer: Peer, *claims: Any) -> None:
    """Starts one job, and waits until it says so."""
    peer.send(Claims(claims=claims))
    peer.ok(await peer.expect(WriteLog), Done())


async def test_cancelling_raises_in_the_midst_of_a_function(
    scripted: ScriptedBroker, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    async with in_process(scripted, process_jobs.tidy) as peer:
        held = claim("a", {"left": str(left)})
        await begun(peer, held)
        peer.send(cancel(held, why="wrong picture"), cancel(held))
        end = await ended(peer)
    assert isinstance(end, Failure)
    assert (end.error.type, end.retry) == ("Cancelled", False)
    assert end.error.message == "the job was cancelled: wrong picture"
    assert left.read_text() == "tidied"


async def test_a_function_that_does_not_stop_is_killed(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.stubborn) as peer:
        held = claim("a")
        await begun(peer, held)
        peer.send(cancel(held, grace_ms=50))
        end = await ended(peer)
        assert isinstance(end, Failure)
        assert (end.error.type, end.retry) == ("Cancelled", False)


async def test_a_function_may_finish_all_the_same(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.finishes) as peer:
        held = claim("a")
        await begun(peer, held)
        peer.send(cancel(held))
        end = await ended(peer)
        assert isinstance(end, Completion)
        assert msgpack.unpackb(end.result) == "done all the same"


async def test_nothing_is_said_of_a_revoked_job(scripted: ScriptedBroker, tmp_path: Path) -> None:
    left = tmp_path / "left"
    worker = Worker(dial=scripted.dial, concurrency=2)
    worker.job("tidy", process=True)(process_jobs.tidy)
    worker.job("pid", process=True)(process_jobs.pid)
    async with serving(scripted, worker) as peer:
        held = claim("a", {"left": str(left)}, job_type="tidy")
        await begun(peer, held)
        peer.send(revoke(held))
        end = await result(peer, claim("b", job_type="pid"))
        assert end
    assert left.read_text() == "tidied"


async def test_stubborn_processes_do_not_hold_up_the_end(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial, shutdown_timeout="10ms")
    worker.job("t", process=True)(process_jobs.stubborn)
    opening = asyncio.create_task(worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    peer.ok(await peer.next(), Done())  # type: ignore[arg-type]
    await opening
    await begun(peer, claim("a"))
    await peer.close()
    scripted.unreachable = True
    await worker.__aexit__(None, None, None)


async def test_signals_of_others_are_the_workers_to_judge(scripted: ScriptedBroker) -> None:
    async with in_process(scripted, process_jobs.signalled_by_others) as peer:
        assert msgpack.unpackb(await result(peer, claim("a"))) == "still here"


async def test_a_cancelled_wait_for_a_process(scripted: ScriptedBroker) -> None:
    """The job is stopped before a process was there for it."""
    async with in_process(scripted, process_jobs.pid) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)), cancel(held))
        end = await ended(peer)
        assert isinstance(end, Failure)
        assert end.error.type == "Cancelled"


def test_a_coroutine_runs_in_no_process() -> None:
    async def work() -> None: ...

    with pytest.raises(InvalidValue, match="t: a coroutine runs on the event loop"):
        Worker().job("t", process=True)(work)


async def test_a_function_that_a_process_could_not_find(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    worker.job("t", process=True)(lambda: None)
    with pytest.raises(InvalidValue, match="t: a function in a process has to stand in a module"):
        await worker.__aenter__()
    assert scripted.dialled == 0
