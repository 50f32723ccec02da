"""Writes `packhorse/sync.py`: the asynchronous classes' signatures and words, without `await`.

python clients/python/generate_sync.py            write it
python clients/python/generate_sync.py --check    exit 1 if it is out of date
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

PACKAGE: Final = Path(__file__).parent / "packhorse"
TARGET: Final = PACKAGE / "sync.py"

HEADER: Final = '''\
"""Packhorse for programs without an event loop: the same, without `await`.

    with packhorse.sync.connect() as client:
        print(client.run("thumb", {"url": "cat.png"}))

Each client has an event loop in a thread of its own, and may be used from several threads.
Made by `generate_sync.py` from the asynchronous classes: change those.
"""

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from packhorse import client as asynchronous
from packhorse import job as asynchronous_job
from packhorse import outcome as asynchronous_outcome
from packhorse.dialing import Dial
from packhorse.durations import Duration
from packhorse.errors import SomeRefused
from packhorse.loopthread import LoopThread
from packhorse.newjob import NewJob
from packhorse.payload import NOTHING
from packhorse_protocol.messages import (
    BrokerInfo,
    Counts,
    Error,
    Event,
    JobView,
    LogEntry,
    Progress,
    Reason,
    Role,
)

__all__ = ["Client", "Job", "Outcome", "connect"]

'''

CLIENT_START: Final = '''
    def __init__(self, wrapped: asynchronous.Client) -> None:
        self._wrapped = wrapped
        self._loop = LoopThread()

    def __enter__(self) -> Self:
        """Connects. Raises `BrokerUnavailable`, or `Refused` if it wants no such client."""
        self._loop.start()
        try:
            self._loop.run(self._wrapped.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._loop.run(self._wrapped.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop.close()
'''

WRAPPER_START: Final = """
    def __init__(self, loop: LoopThread, wrapped: {module}.{name}) -> None:
        self._loop = loop
        self._wrapped = wrapped
"""

JOBS: Final = """

def _jobs(
    loop: LoopThread, creating: Coroutine[Any, Any, list[asynchronous_job.Job]]
) -> list[Job]:
    try:
        return [Job(loop, job) for job in loop.run(creating)]
    except SomeRefused as error:
        wrapped = asynchronous_job.Job
        raise SomeRefused(
            [Job(loop, item) if isinstance(item, wrapped) else item for item in error.results]
        ) from None
"""

WRAPPED: Final = {
    "Job": "Job(self._loop, {})",
    "Outcome": "Outcome(self._loop, {})",
    "Iterator[Outcome]": "(Outcome(self._loop, item) for item in {})",
}
"""What is returned -> how the asynchronous object is wrapped."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def generate() -> str:
    """The whole module."""
    outcome_start = WRAPPER_START.format(module="asynchronous_outcome", name="Outcome")
    job_start = WRAPPER_START.format(module="asynchronous_job", name="Job")
    # In the order in which they name each other: annotations are evaluated.
    parts = [
        HEADER,
        *_class("outcome", "Outcome", outcome_start),
        *_class("job", "Job", job_start),
        JOBS,
        *_class("client", "Client", CLIENT_START),
        *_connect("client"),
    ]
    return _formatted("\n".join(parts))


def _connect(module: str) -> Iterator[str]:
    function = next(
        node
        for node in _parsed(module).body
        if isinstance(node, ast.FunctionDef) and node.name == "connect"
    )
    yield f"\ndef connect({ast.unparse(function.args)}) -> Client:"
    yield _docstring(function, "    ", paragraphs=1)
    yield f"    return Client(asynchronous.connect({_passed(function.args)}))\n"


def _class(module: str, name: str, start: str) -> Iterator[str]:
    found = next(
        node
        for node in _parsed(module).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    yield f"\nclass {name}:"
    yield _docstring(found, "    ")
    yield start
    yield from _attributes(found)
    for node in found.body:
        public = isinstance(node, Function) and not node.name.startswith("_")
        if isinstance(node, Function) and (public or node.name == "__repr__"):
            yield from _method(node)


def _attributes(found: ast.ClassDef) -> Iterator[str]:
    """Public attributes: a dataclass's fields, else what `__init__` sets and documents."""
    initialisers = (node for node in found.body if _named(node, "__init__"))
    initialiser = next(initialisers, None)
    body = initialiser.body if isinstance(initialiser, ast.FunctionDef) else found.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        name = node.target.attr if isinstance(node.target, ast.Attribute) else None
        name = node.target.id if isinstance(node.target, ast.Name) else name
        if name is None or name.startswith("_") or name == "acknowledge":
            continue
        kind = re.sub(r"^Final\[(.*)\]$", r"\1", ast.unparse(node.annotation))
        yield f"    @property\n    def {name}(self) -> {kind}:"
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield f'        """{after.value.value!s}"""'
        yield f"        return self._wrapped.{name}\n"


def _method(function: Function) -> Iterator[str]:
    returned = ast.unparse(function.returns) if function.returns is not None else "None"
    returned = re.sub(r"^AsyncGenerator\[(.*), None\]$", r"Iterator[\1]", returned)
    if any(
        isinstance(mark, ast.Name) and mark.id == "property" for mark in function.decorator_list
    ):
        yield "    @property"
        call = f"self._wrapped.{function.name}"
    else:
        call = _call(function, returned)
    yield f"    def {function.name}({ast.unparse(function.args)}) -> {returned}:"
    if ast.get_docstring(function) is not None:
        yield _docstring(function, "        ")
    yield f"        {'' if returned == 'None' else 'return '}{call}\n"


def _call(function: Function, returned: str) -> str:
    passed = _passed(function.args)
    call = f"self._wrapped.{function.name}({passed})"
    if returned == "list[Job]":
        return f"_jobs(self._loop, {call})"
    if returned.startswith("Iterator["):
        call = f"self._loop.iterate({call})"
    elif isinstance(function, ast.AsyncFunctionDef):
        call = f"self._loop.run({call})"
    else:
        comma = ", " if passed else ""
        call = f"self._loop.call(self._wrapped.{function.name}{comma}{passed})"
    return WRAPPED.get(returned, "{}").format(call)


def _passed(arguments: ast.arguments) -> str:
    """The arguments of a signature, passed on under their own names."""
    passed = [item.arg for item in arguments.args if item.arg != "self"]
    if arguments.vararg is not None:
        passed.append(f"*{arguments.vararg.arg}")
    passed += [f"{item.arg}={item.arg}" for item in arguments.kwonlyargs]
    return ", ".join(passed)


def _docstring(node: Function | ast.ClassDef, indent: str, paragraphs: int | None = None) -> str:
    """The words of the original, or the first paragraphs, with a pointer to the others."""
    whole = (ast.get_docstring(node) or "").split("\n\n")
    text = "\n\n".join(whole[:paragraphs])
    if len(whole) > len(whole[:paragraphs]):
        text += " As `packhorse.connect`."
    text = text.replace("await ", "").replace("async ", "").replace("a coroutine", "a function")
    lines = [f"{indent}{line}".rstrip() for line in f'"""{text}'.splitlines()]
    closing = '"""' if len(lines) == 1 else f'\n{indent}"""'
    return "\n".join(lines) + closing


def _named(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def _parsed(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))


def _formatted(source: str) -> str:
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True)
    return done.stdout


def main(arguments: list[str]) -> int:
    source = generate()
    if arguments != ["--check"]:
        TARGET.write_text(source, "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != source:
        sys.stderr.write(f"{TARGET.name} is out of date: python clients/python/generate_sync.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
