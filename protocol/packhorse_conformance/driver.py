"""The driver under test as a child process: instructions in, answers and events out.

What a driver is, `DRIVER.md` says.
"""

import asyncio
import base64
import contextlib
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from packhorse_conformance.driver_lines import Line, check_ok, read_line
from packhorse_conformance.trace import Trace
from packhorse_conformance.verdict import Failed, Skipped, expect

LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line of a driver: a large payload in base64."""

SHOWN_CHARS: Final = 200

UNKNOWN: Final = "no such instruction"


class Answer:
    """What an instruction comes to."""

    def __init__(self, instruction: Line, trace: Trace) -> None:
        self._instruction = instruction
        self._trace = trace
        self._line: asyncio.Future[Line] = asyncio.get_running_loop().create_future()

    def settle(self, line: Line) -> None:
        self._line.set_result(line)

    @property
    def name(self) -> str:
        """The instruction's."""
        return str(self._instruction["do"])

    @property
    def probes(self) -> bool:
        """Whether it was an instruction that no driver knows."""
        return self.name == UNKNOWN

    def break_off(self, failure: Exception) -> None:
        if not self._line.done():
            self._line.set_exception(failure)
            self._line.exception()

    async def came(self) -> None:
        """Waits until it has come. Can be cancelled."""
        await asyncio.wait([self._line])

    async def line(self) -> Line:
        """As it came: with `ok`, or with `error`."""
        self._trace.awaited = f"the driver's answer to `{self.name}`"
        return await asyncio.shield(self._line)

    async def problem(self) -> Line:
        """Why its one job was refused: told of the instruction, or of the job."""
        line = await self.line()
        jobs = [{"problem": line["error"]}] if "error" in line else line["ok"].get("jobs", [])
        expect([list(job) for job in jobs] == [["problem"]], "one refusal", line)
        found: Line = jobs[0]["problem"]
        return found

    async def ok(self) -> Line:
        """Its `ok`. Raises `Failed` for an error."""
        line = await self.line()
        expect("ok" in line, f"`{self.name}` to succeed", line.get("error"))
        found: Line = line["ok"]
        return found

    async def error(self, *codes: str) -> Line:
        """Its `error`, which has to have one of these codes, if any are given."""
        line = await self.line()
        allowed = " or ".join(codes) if codes else "some code"
        expect("error" in line, f"`{self.name}` to fail with {allowed}", line)
        found: Line = line["error"]
        expect(not codes or found["code"] in codes, f"an error with {allowed}", found)
        return found


class Driver:
    """Made by `start`. Instructions run side by side: `do` waits for nothing."""

    def __init__(self, process: Process, trace: Trace) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[Line] = []
        """Those that nobody waited for yet."""
        self.all_events: list[Line] = []
        self._process = process
        self._trace = trace
        self._ids = count(1)
        self._answers: dict[int, Answer] = {}
        self._news = asyncio.Event()
        self._interruption: asyncio.Future[Exception] = loop.create_future()
        self._input_ended = False
        self._readers = [
            asyncio.create_task(self._read_answers()),
            asyncio.create_task(self._read_errors()),
        ]

    @classmethod
    async def start(cls, command: Sequence[str], trace: Trace) -> "Driver":
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LINE_BYTES
        )
        return cls(process, trace)

    def do(self, name: str, **fields: object) -> Answer:
        """Gives an instruction; binary values become base64, and what is None is left out."""
        given = {key: value for key, value in fields.items() if value is not None}
        instruction_id = next(self._ids)
        instruction = {"id": instruction_id, "do": name, **given}
        answer = Answer(instruction, self._trace)
        text = json.dumps(instruction, default=base64_of)
        self._trace.line("kit -> driver", text[:SHOWN_CHARS])
        if self.failure is not None:
            answer.break_off(self.failure)
            return answer
        self._answers[instruction_id] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        return answer

    async def event(
        self, name: str, wanted: Callable[[Line], bool] = bool, **fields: object
    ) -> Line:
        """The next event of this name with these fields, and that is `wanted`."""

        def fits(event: Line) -> bool:
            return (
                event["event"] == name
                and all(event.get(key) == value for key, value in fields.items())
                and wanted(event)
            )

        self._trace.awaited = f"the driver's event `{name}` {fields or ''}".strip()
        while True:
            for place, event in enumerate(self.events):
                if fits(event):
                    return self.events.pop(place)
            if self.failure is not None:
                raise self.failure
            self._news.clear()
            await self._news.wait()

    def count(self, name: str, **fields: object) -> int:
        """How often such an event came, waited for or not."""
        return sum(
            event["event"] == name and all(event.get(key) == value for key, value in fields.items())
            for event in self.all_events
        )

    async def look(self) -> None:
        """Proof that it has read what it was told before: it is told what no driver knows."""
        error = await self.do(UNKNOWN).error("unsupported")
        expect(not error["retryable"], "`retryable` false", error)

    def end_input(self) -> None:
        """No instruction will come any more."""
        self._input_ended = True
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def exit_status(self) -> int:
        """When it has ended, and all that it said has been read."""
        self._trace.awaited = "the driver to exit after the end of its input"
        await asyncio.wait(self._readers)
        return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.wait(self._readers)
        await self._process.wait()

    @property
    def failure(self) -> Exception | None:
        """What it did against `DRIVER.md`, that it ended, or that it leaves something out."""
        return self._interruption.result() if self._interruption.done() else None

    async def interruption(self) -> Exception:
        """Waits until there is a reason to go on no more. Can be cancelled."""
        await asyncio.wait([self._interruption])
        return self._interruption.result()

    # -- reading

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        try:
            number = 0
            async for line in self._process.stdout:
                number += 1
                self._trace.line(
                    "driver -> kit", line.decode(errors="replace")[:SHOWN_CHARS].rstrip()
                )
                self._take(read_line(line, number), number)
        except ValueError:
            self._break(Failed(f"lines of at most {LINE_BYTES} bytes", "a longer one"))
        except Failed as failure:
            self._break(failure)
        if not self._input_ended:
            self._break(Failed("a driver that runs until the end of its input", "its end"))

    def _take(self, line: Line, number: int) -> None:
        if "event" in line:
            self.all_events.append(line)
            self.events.append(line)
            self._news.set()
            return
        answer = self._answers.get(line["id"])
        if answer is None:
            raise Failed("one answer to each instruction", line)
        if "ok" in line:
            check_ok(line, number, answer.name)
        del self._answers[line["id"]]
        answer.settle(line)
        if "error" in line and line["error"]["code"] == "unsupported" and not answer.probes:
            said = line["error"]["message"]
            self._break(Skipped(f"the driver leaves `{answer.name}` out: {said}"))

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._trace.line("driver says", _shown(line))

    def _break(self, failure: Failed | Skipped) -> None:
        if not self._interruption.done():
            self._interruption.set_result(failure)
        for answer in self._answers.values():
            answer.break_off(failure)
        self._answers.clear()
        self._news.set()


def _shown(line: bytes) -> str:
    return line.decode(errors="replace")[:SHOWN_CHARS].rstrip()


def base64_of(data: object) -> str:
    """As binary stands in a driver's lines."""
    if not isinstance(data, bytes):
        raise TypeError(f"{type(data).__name__} has no place in an instruction")
    return base64.b64encode(data).decode()
