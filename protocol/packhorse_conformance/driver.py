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
from typing import Any, Final, TypeAlias

from packhorse_conformance.trace import Trace
from packhorse_conformance.verdict import Failed, Skipped, expect

Line: TypeAlias = dict[str, Any]

LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line of a driver: a large payload in base64."""

SHOWN_CHARS: Final = 200

EVENTS: Final = frozenset(
    {
        "running",
        "ended",
        "outcome",
        "news",
        "disconnected",
        "connected",
        "draining",
        "closed",
    }
)


class Answer:
    """What an instruction comes to."""

    def __init__(self, instruction: Line, trace: Trace) -> None:
        self._instruction = instruction
        self._trace = trace
        self._line: asyncio.Future[Line] = asyncio.get_running_loop().create_future()

    def settle(self, line: Line) -> None:
        self._line.set_result(line)

    def break_off(self, failure: Failed) -> None:
        if not self._line.done():
            self._line.set_exception(failure)
            self._line.exception()

    async def came(self) -> None:
        """Waits until it has come. Can be cancelled."""
        await asyncio.wait([self._line])

    async def problem(self) -> Line:
        """Why its one job was refused: told of the instruction, or of the job."""
        line = await self.line()
        jobs = [{"problem": line["error"]}] if "error" in line else line["ok"].get("jobs", [])
        expect([list(job) for job in jobs] == [["problem"]], "one refusal", line)
        found: Line = jobs[0]["problem"]
        return found

    async def unsupported(self) -> None:
        """That the driver does not know the instruction: proof that it has read it."""
        self._trace.awaited = f"`unsupported` as the answer to `{self._instruction['do']}`"
        line = await asyncio.shield(self._line)
        code = line.get("error", {}).get("code")
        expect(code == "unsupported", "the error `unsupported` of DRIVER.md", line)

    async def line(self) -> Line:
        """As it came: with `ok`, or with `error`. Raises `Skipped` for `unsupported`."""
        name = self._instruction["do"]
        self._trace.awaited = f"the driver's answer to `{name}`"
        line = await asyncio.shield(self._line)
        if "error" in line and line["error"].get("code") == "unsupported":
            raise Skipped(f"the driver leaves `{name}` out: {line['error'].get('message', '')}")
        return line

    async def ok(self) -> Line:
        """Its `ok`. Raises `Failed` for an error."""
        line = await self.line()
        expect("ok" in line, f"`{self._instruction['do']}` to succeed", line.get("error"))
        found: Line = line["ok"]
        return found

    async def error(self, *codes: str) -> Line:
        """Its `error`, which has to have one of these codes, if any are given."""
        line = await self.line()
        allowed = " or ".join(codes) if codes else "some code"
        expect("error" in line, f"`{self._instruction['do']}` to fail with {allowed}", line)
        found: Line = line["error"]
        expect(not codes or found["code"] in codes, f"an error with {allowed}", found)
        return found


class Driver:
    """Made by `start`. Instructions run side by side: `do` waits for nothing."""

    def __init__(self, process: Process, trace: Trace) -> None:
        self.events: list[Line] = []
        """Those that nobody waited for yet."""
        self.all_events: list[Line] = []
        self._process = process
        self._trace = trace
        self._ids = count(1)
        self._answers: dict[int, Answer] = {}
        self._news = asyncio.Event()
        self._failure: Failed | None = None
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
        if self._failure is not None:
            answer.break_off(self._failure)
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
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()

    def count(self, name: str, **fields: object) -> int:
        """How often such an event came, waited for or not."""
        return sum(
            event["event"] == name and all(event.get(key) == value for key, value in fields.items())
            for event in self.all_events
        )

    def end_input(self) -> None:
        """No instruction will come any more."""
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
    def failure(self) -> Failed | None:
        """What it did against `DRIVER.md`, or that it ended."""
        return self._failure

    # -- reading

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                self._trace.line(
                    "driver -> kit", line.decode(errors="replace")[:SHOWN_CHARS].rstrip()
                )
                self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._break(Failed("a line as DRIVER.md says", f"{type(error).__name__}: {error}"))
        except Failed as failure:
            self._break(failure)
        self._break(Failed("a driver that runs until the end of its input", "its end"))

    def _take(self, line: Line) -> None:
        if "event" in line:
            expect(line["event"] in EVENTS, "an event that DRIVER.md knows", line)
            self.all_events.append(line)
            self.events.append(line)
            self._news.set()
            return
        expect(("ok" in line) != ("error" in line), "either `ok` or `error`", line)
        if "error" in line:
            known = {key: line["error"][key] for key in ("code", "message", "retryable")}
            expect(isinstance(known["retryable"], bool), "`retryable` as a boolean", line)
        answer = self._answers.pop(line["id"], None)
        if answer is None:
            raise Failed("one answer to each instruction", line)
        answer.settle(line)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._trace.line("driver says", _shown(line))

    def _break(self, failure: Failed) -> None:
        self._failure = self._failure or failure
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


def bytes_of(text: str) -> bytes:
    """What a driver said in base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise Failed("binary in base64", text) from None
