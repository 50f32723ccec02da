"""What a broker in the test's process writes to its log, to be waited for."""

import asyncio
import io
import json
from typing import Any, Final

from packhorse_broker.logs import set_up

WAIT_S: Final = 30


class LogLines(io.StringIO):
    """Takes all warnings and errors from now on. `await lines.of("store.full")` gives a line."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        set_up(level="warning", log_format="json", stream=self)

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line:
                self._lines.put_nowait(json.loads(line))
        return len(text)

    async def of(self, event: str) -> dict[str, Any]:
        """The next line of this event; those before it are dropped."""
        async with asyncio.timeout(WAIT_S):
            while True:
                line = await self._lines.get()
                if line["event"] == event:
                    return line
