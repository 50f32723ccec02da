"""What the guide shows in Python runs, and what it shows of the command line is what it prints.

The blocks of a page are run in their order, with one broker and one worker beside them.
"""

import ast
import asyncio
import inspect
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

import pytest

import packhorse
from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]

BLOCK: Final = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COMMAND_TIMEOUT_S: Final = 30
"""Far above what a command needs: it ends a hang."""


class Block(NamedTuple):
    """`line`: where it stands, for messages."""

    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Those that can be run here: no whole programs, and of commands only `packhorse`."""
    text = page.read_text()
    found = [
        Block(text[: match.start()].count("\n") + 2, match.group(1), match.group(2))
        for match in BLOCK.finditer(text)
    ]
    return [
        block
        for block in found
        if (block.language == "python" and "main()" not in block.text)
        or block.text.startswith("$ packhorse ")
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console block, and what stands below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, said) for command, _, said in (part.partition("\n") for part in parts)]


def pattern(said: str) -> str:
    """`...` stands for anything within a line, blanks for one or more; a line of it alone for
    any lines."""
    found = ""
    for line in said.splitlines():
        if line == "...":
            found += r"(.*\n)*"
        else:
            words = r"\s+".join(map(re.escape, line.split()))
            found += r"\s*" + words.replace(r"\.\.\.", ".*") + r"\s*\n"
    return found


def job_functions(worker: Worker) -> None:
    """The types of which the guide speaks."""

    @worker.job("thumb")
    async def thumb(ctx: Context, url: str, sizes: list[int]) -> list[str]:
        for number, size in enumerate(sizes, 1):
            await ctx.progress(100 * number // len(sizes), f"{size}px")
            await ctx.log(f"{url} at {size}")
        return [f"{url}?w={size}" for size in sizes]

    @worker.job("mail")
    async def mail(to: str) -> str:
        if to == "nobody":
            raise ConnectionError("no such address")
        return f"sent to {to}"

    @worker.job("sleep")
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)


class Reader:
    """Does what a page says, from its top to its end."""

    def __init__(self, page: Path, broker: LocalBroker, folder: Path) -> None:
        self._page = page
        self._broker = broker
        self._folder = folder
        self._names: dict[str, object] = {
            name: getattr(packhorse, name) for name in packhorse.__all__
        }

    @asynccontextmanager
    async def client(self) -> AsyncIterator[None]:
        async with self._broker.connect(client_id="reader", stay=False) as client:
            self._names["client"] = client
            yield

    async def python(self, block: Block) -> None:
        worker = Worker(dial=self._broker.dial)
        self._names |= {"worker": worker, "__name__": "guide"}
        code = self._compiled(block)
        coroutine = eval(code, self._names)  # noqa: S307 - our own page
        if inspect.iscoroutine(coroutine):
            await coroutine
        if worker._functions and "process=True" not in block.text:
            async with worker:
                """It says that its functions can be run."""

    async def console(self, block: Block) -> None:
        environment = os.environ | {
            "PACKHORSE_URL": self._broker.addresses[0],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        for command, said in commands(block.text):
            process = await asyncio.create_subprocess_shell(
                command,
                env=environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                out, _ = await process.communicate()
            place = f"{self._page.name}:{block.line}: {command}\n{out.decode()}"
            assert re.fullmatch(pattern(said), out.decode()), place
            # A command that is to fail shows its error; "usage" would be a mistake of the page.
            assert process.returncode == 0 or said.startswith("error: "), place

    def _compiled(self, block: Block) -> CodeType:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        name = f"{self._page.name}:{block.line}"
        code: CodeType = compile(block.text, name, "exec", flags=flags, dont_inherit=True)
        return code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_a_page_says_what_is_so(page: Path, tmp_path: Path) -> None:
    async with LocalBroker(listen=("tcp://127.0.0.1:0",)) as broker:
        worker = Worker(dial=broker.dial, client_id="worker-1")
        job_functions(worker)
        reader = Reader(page, broker, tmp_path)
        async with worker, reader.client():
            for block in blocks(page):
                if block.language == "python":
                    await reader.python(block)
                else:
                    await reader.console(block)


async def test_the_readme_starts_with_a_program_that_works(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    program = next(found for _, found in BLOCK.findall(text) if found.startswith("# app.py\n"))
    said = re.search(r"^\$ \S*python app\.py\n(.*)$", text, re.MULTILINE)
    assert said is not None
    (tmp_path / "app.py").write_text(program)
    async with LocalBroker(listen=("tcp://127.0.0.1:0",)) as broker:
        ran = await asyncio.create_subprocess_exec(
            sys.executable,
            "app.py",
            env=os.environ | {"PACKHORSE_URL": broker.addresses[0]},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            out, _ = await ran.communicate()
    assert out.decode() == said.group(1) + "\n"
    assert ran.returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]*)(?:#[\w-]+)?\)", page.read_text()):
        assert not target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_to_headings_name_one(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text()):
        text = (page.parent / target).read_text() if target else page.read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", found).lower().replace(" ", "-") for found in headings}
        assert heading in names, f"{target}#{heading}"
