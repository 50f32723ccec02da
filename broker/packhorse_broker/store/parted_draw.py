"""One draw whose claims are taken in several partitions, each in a transaction of its own."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from packhorse_broker.jobs.model import Applied
from packhorse_broker.store.work import Draw

PATIENCE_S: Final = 1.0
"""So long what other partitions have granted waits for one that does not answer: its last
transaction may be unknown for as long as its server is away."""


class PartedDraw:
    """`came` for each partition. The draw is answered once, in the order of the queue."""

    def __init__(
        self,
        draw: Draw,
        allotted: Mapping[int, int],
        *,
        more: bool,
        barren: Callable[[int], None],
        slow: Callable[[int], None],
        late: Callable[[Applied], None],
    ) -> None:
        """`allotted`: claims of each partition; `more`: whether there are more jobs than that;
        `barren`: told of partitions that granted nothing, `slow`: of those that were not waited
        for, `late`: of what these granted."""
        self._draw = draw
        self._allotted = allotted
        self._more = more
        self._barren = barren
        self._slow = slow
        self._late = late
        self._drawn: list[Applied] = []
        self._waited_for = set(allotted)
        self._answered = False
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._answer)

    def came(self, partition: int, found: list[Applied], may_hold_more: bool) -> None:
        """What a partition granted."""
        if self._answered:
            for applied in found:
                self._late(applied)
            return
        self._waited_for.discard(partition)
        self._drawn += found
        if not found:
            self._barren(partition)
        # Where all came that was asked for, the look told whether there is more.
        self._more |= may_hold_more and len(found) < self._allotted[partition]
        if not self._waited_for:
            self._answer()

    def _answer(self) -> None:
        self._answered = True
        self._timer.cancel()
        for partition in self._waited_for:
            self._slow(partition)
        self._drawn.sort(key=lambda applied: (-applied.job.priority, applied.job.order))
        self._draw.done(self._drawn, self._more or bool(self._waited_for))
