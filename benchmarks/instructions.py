"""How many bytecode instructions Python executes in each stage: a cost that no other load changes.

What one function written in C does is one instruction here, however much it is.
"""

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

from benchmarks.stages import is_counted, is_protocol, messages_of, stage_of

Tracer: TypeAlias = Callable[[FrameType, str, Any], Any]

_OF_CALLER: Final = "<caller>"
_OF_PROTOCOL: Final = "<protocol>"
_NONE: Final = "<none>"


class Instructions:
    """`start`, `stop`, then `counts`: instructions by stage since the last `start`."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        """Stage, or one of the words above, by the code's `id`."""
        self._codes: list[CodeType] = []
        """Kept, so that no id is given to another."""
        self._counted: dict[str, int] = {}
        self._tracers: dict[str, Tracer] = {}

    def start(self) -> None:
        """Counts all that this thread does from its next call on."""
        self._counted = dict.fromkeys(self._counted, 0)
        sys.settrace(self._enter)

    def stop(self) -> None:
        sys.settrace(None)

    @property
    def counts(self) -> dict[str, int]:
        return {stage: count for stage, count in self._counted.items() if count}

    def _enter(self, frame: FrameType, _: str, __: Any) -> Tracer | None:
        """Of a call, and of each time that a coroutine goes on."""
        stage = self._stage(frame)
        if stage is None:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._tracers.get(stage) or self._tracer(stage)

    def _stage(self, frame: FrameType) -> str | None:
        at: FrameType | None = frame
        in_protocol = False
        while at is not None:
            owner = self._owners.get(id(at.f_code)) or self._owner(at)
            if owner is _NONE:
                return None
            if owner is _OF_PROTOCOL:
                in_protocol = True
            elif owner is not _OF_CALLER:
                return messages_of(owner) if in_protocol else owner
            at = at.f_back
        return None

    def _owner(self, frame: FrameType) -> str:
        module = str(frame.f_globals.get("__name__", ""))
        if not is_counted(module):
            owner = _NONE
        elif is_protocol(module):
            owner = _OF_PROTOCOL
        else:
            owner = stage_of(module) or _OF_CALLER
        self._owners[id(frame.f_code)] = owner
        self._codes.append(frame.f_code)
        return owner

    def _tracer(self, stage: str) -> Tracer:
        self._counted.setdefault(stage, 0)

        def count(_: FrameType, event: str, __: Any) -> Tracer:
            if event == "opcode":
                self._counted[stage] += 1
            return count

        self._tracers[stage] = count
        return count
