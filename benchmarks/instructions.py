"""How many bytecode instructions Python executes in each stage: a cost that no other load changes.

What one function written in C does is one instruction here, however much it is.
"""

import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

from benchmarks.stages import is_counted, is_protocol, messages_of, stage_of

Tracer: TypeAlias = Callable[[FrameType, str, Any], Any]

_OF_CALLER: Final = "<caller>"
_OF_PROTOCOL: Final = "<protocol>"
_NOT_COUNTED: Final = "<not counted>"


class Instructions:
    """`start`, `stop`, then `counts`. One thread, once."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """By stage and function: `package.module.function`, or the latter alone where it was made
        from generated source."""
        self._owners: dict[int, str] = {}
        """Stage, or one of the words above, by the code's `id`."""
        self._codes: list[CodeType] = []
        """Kept, so that no id is given to another."""
        self._tracers: dict[tuple[str, int], Tracer] = {}
        self._before: Any = None

    def start(self) -> None:
        """Counts what this thread calls from now on, and coroutines that go on."""
        self._before = sys.gettrace()
        sys.settrace(self._enter)

    def stop(self) -> None:
        """Whoever traced before does so again."""
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, _: str, __: Any) -> Tracer | None:
        stage = self._stage(frame)
        if stage is None:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._tracers.get((stage, id(frame.f_code))) or self._tracer(stage, frame)

    def _stage(self, frame: FrameType) -> str | None:
        at: FrameType | None = frame
        in_protocol = False
        while at is not None:
            owner = self._owners.get(id(at.f_code)) or self._owner(at)
            if owner is _NOT_COUNTED:
                return None
            if owner is _OF_PROTOCOL:
                in_protocol = True
            elif owner is not _OF_CALLER:
                return messages_of(owner) if in_protocol else owner
            at = at.f_back
        return None

    def _owner(self, frame: FrameType) -> str:
        module = _module(frame)
        if not is_counted(module):
            owner = _NOT_COUNTED
        elif is_protocol(module):
            owner = _OF_PROTOCOL
        else:
            owner = stage_of(module) or _OF_CALLER
        self._owners[id(frame.f_code)] = owner
        self._codes.append(frame.f_code)
        return owner

    def _tracer(self, stage: str, frame: FrameType) -> Tracer:
        counts = self.counts
        function = (stage, f"{_module(frame)}.{frame.f_code.co_qualname}".lstrip("."))

        def count(_: FrameType, event: str, __: Any) -> Tracer:
            if event == "opcode":
                counts[function] += 1
            return count

        self._tracers[stage, id(frame.f_code)] = count
        return count


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
