"""Writes the package `packhorse/sync`: the asynchronous classes, without `await`.

python clients/python/generate_sync.py            write it
python clients/python/generate_sync.py --check    exit 1 if it is out of date

Each module of it has the signatures and words of the asynchronous module of its name.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

PACKAGE: Final = Path(__file__).parent / "packhorse"
TARGET: Final = PACKAGE / "sync"

INIT: Final = '''\
"""Packhorse for programs without an event loop: the same, without `await`.

    with packhorse.sync.connect() as client:
        print(client.run("thumb", {"url": "cat.png"}))

Each client has an event loop in a thread of its own, and may be used from several threads.
Made by `generate_sync.py` from the asynchronous classes: change those.
"""

from packhorse.sync.client import Client, connect
from packhorse.sync.job import Job
from packhorse.sync.outcome import Outcome

__all__ = ["Client", "Job", "Outcome", "connect"]
'''

HEADER: Final = '''\
"""`packhorse.{module}` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterable, Iterator

from packhorse import client as asynchronous
from packhorse import job as asynchronous_job
from packhorse import outcome as asynchronous_outcome
from packhorse.loopthread import LoopThread
from packhorse.sync.changing import Changing
from packhorse.sync.creating import Creating
from packhorse.sync.job import Job
from packhorse.sync.jobs import ids_of, wrapped_jobs
from packhorse.sync.jobtypes import JobTypes
from packhorse.sync.looking import Looking
from packhorse.sync.outcome import Outcome
from packhorse.sync.waiting import Waiting
'''
"""Names that any of the modules may need; those that one does not use are taken out of it."""

OWN: Final = "from packhorse.sync.{} import {}"


JOBS: Final = '''\
"""Handles of several jobs, to and from the asynchronous ones. Made by `generate_sync.py`."""

from collections.abc import Coroutine, Iterable
from typing import Any

from packhorse import job as asynchronous_job
from packhorse.errors import SomeRefused
from packhorse.loopthread import LoopThread
from packhorse.sync.job import Job


def wrapped_jobs(
    loop: LoopThread, creating: Coroutine[Any, Any, list[asynchronous_job.Job]]
) -> list[Job]:
    """What is created, in handles of this package, those in the error too."""
    try:
        return [Job(loop, job) for job in loop.run(creating)]
    except SomeRefused as error:
        wrapped = asynchronous_job.Job
        raise SomeRefused(
            [Job(loop, item) if isinstance(item, wrapped) else item for item in error.results]
        ) from None


def ids_of(jobs: Iterable[Job | str]) -> list[str]:
    """The ids of jobs that are named by handle or id."""
    return [job.id if isinstance(job, Job) else job for job in jobs]
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

PART_START: Final = """
    _loop: LoopThread
    _wrapped: asynchronous.Client
"""

WRAPPER_START: Final = """
    def __init__(self, loop: LoopThread, wrapped: {module}.{name}) -> None:
        self._loop = loop
        self._wrapped = wrapped
"""

MODULES: Final = {
    "outcome": ("Outcome", WRAPPER_START.format(module="asynchronous_outcome", name="Outcome")),
    "job": ("Job", WRAPPER_START.format(module="asynchronous_job", name="Job")),
    "creating": ("Creating", PART_START),
    "waiting": ("Waiting", PART_START),
    "looking": ("Looking", PART_START),
    "changing": ("Changing", PART_START),
    "jobtypes": ("JobTypes", PART_START),
    "client": ("Client", CLIENT_START),
}
"""Module -> its class, and how that one's counterpart begins."""

WRAPPED: Final = {
    "Job": "Job(self._loop, {})",
    "Outcome": "Outcome(self._loop, {})",
    "list[Outcome]": "[Outcome(self._loop, item) for item in {}]",
    "Iterator[Outcome]": "(Outcome(self._loop, item) for item in {})",
}
"""What is returned -> how the asynchronous object is wrapped."""

REPLACED: Final = frozenset(f"packhorse.{module}" for module in MODULES)
"""Whose classes are imported from here instead."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def generate() -> dict[str, str]:
    """All modules: the name of each file and what is in it."""
    written = {"__init__.py": INIT, "jobs.py": JOBS}
    for module, (name, start) in MODULES.items():
        tree = ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))
        header = HEADER.format(module=module).replace(f"{OWN.format(module, name)}\n", "")
        parts = [header, *_imports(tree), *_class(tree, name, start)]
        if module == "client":
            parts += _connect(tree)
        written[f"{module}.py"] = _formatted("\n".join(parts), module)
    return written


def _imports(tree: ast.Module) -> Iterator[str]:
    """The module's own imports, for its annotations."""
    for node in tree.body:
        if isinstance(node, ast.Import) or (
            isinstance(node, ast.ImportFrom) and node.module not in REPLACED
        ):
            yield ast.unparse(node)


def _connect(tree: ast.Module) -> Iterator[str]:
    function = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "connect"
    )
    yield f"\ndef connect({ast.unparse(function.args)}) -> Client:"
    yield _docstring(function, "    ", paragraphs=1)
    yield f"    return Client(asynchronous.connect({_passed(function.args)}))\n"


def _class(tree: ast.Module, name: str, start: str) -> Iterator[str]:
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    bases = [base for base in map(ast.unparse, found.bases) if base != "OnSession"]
    yield f"\nclass {name}({', '.join(bases)}):".replace("():", ":")
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
        return f"wrapped_jobs(self._loop, {call})"
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
    passed = [_named_jobs(item) for item in arguments.args if item.arg != "self"]
    if arguments.vararg is not None:
        passed.append(f"*{arguments.vararg.arg}")
    passed += [f"{item.arg}={item.arg}" for item in arguments.kwonlyargs]
    if arguments.kwarg is not None:
        passed.append(f"**{arguments.kwarg.arg}")
    return ", ".join(passed)


def _named_jobs(argument: ast.arg) -> str:
    """Handles of this package are passed on by their ids."""
    of_jobs = argument.annotation is not None and "Job | str" in ast.unparse(argument.annotation)
    return f"ids_of({argument.arg})" if of_jobs else argument.arg


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


def _formatted(source: str, module: str) -> str:
    """Without the imports that it does not use, and laid out."""
    path = str(TARGET / f"{module}.py")
    ruff = [sys.executable, "-m", "ruff"]
    ours = 'lint.isort.known-first-party = ["packhorse"]'
    checking = [*ruff, "check", "--fix-only", "--quiet", "--select", "F401,I", "--config", ours]
    for command in (checking, [*ruff, "format"]):
        command += ["--stdin-filename", path, "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
        source = done.stdout
    return source


def main(arguments: list[str]) -> int:
    written = generate()
    if arguments != ["--check"]:
        TARGET.mkdir(exist_ok=True)
        for name, source in written.items():
            (TARGET / name).write_text(source, "utf-8")
        return 0
    there = {path.name: path.read_text("utf-8") for path in TARGET.glob("*.py")}
    if there == written:
        return 0
    sys.stderr.write("packhorse/sync is out of date: python clients/python/generate_sync.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
