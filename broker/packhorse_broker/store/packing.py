"""Commands as the bytes that are sent."""

from collections.abc import Callable, Sequence
from typing import Final, cast

import hiredis

Arg = bytes | str | int | float
Argument = Sequence[Arg]
"""One command: its name and arguments."""

pack: Final = cast("Callable[[Argument], bytes]", hiredis.pack_command)
