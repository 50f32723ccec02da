"""Writing into a store whose memory is full.

Past its maxmemory the store refuses every command that might make it grow, and so also the record
by which a job ends. Scripts may be exempt: what has to get through is sent as one, command by
command, in the same transaction.
"""

from typing import Final

from redis.exceptions import OutOfMemoryError, ResponseError

from packhorse_broker.store.packing import Argument, pack

MAX_ARGUMENTS: Final = 7_000
"""Of one command: Lua puts hardly more on its stack."""

_ALLOWED: Final = frozenset(
    ("DEL", "EXPIRE", "HDEL", "LTRIM", "MGET", "SPUBLISH", "ZREM", "ZREMRANGEBYSCORE")
)
"""Commands of ours that a full store takes."""

_SCRIPT: Final = "#!lua flags=allow-oom\nreturn redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))"

LOAD_SCRIPT: Final = pack(("SCRIPT", "LOAD", _SCRIPT))
"""Refused by a store that knows no such script. To be asked first: inside of a transaction it
would only be found when the commands around it are applied."""


def is_full(error: BaseException) -> bool:
    """Whether the store refused something because its memory is full."""
    if isinstance(error, OutOfMemoryError):
        return True
    # The memory became full between the commands and their EXEC.
    return isinstance(error, ResponseError) and "because of: OOM" in str(error)


def past_full(command: Argument) -> Argument:
    """The same command so that a full store takes it too; its first argument is a key.

    Raises ValueError if it has more than MAX_ARGUMENTS.
    """
    name, *arguments = command
    if name in _ALLOWED:
        return command
    if len(arguments) > MAX_ARGUMENTS:
        raise ValueError(f"{name!r} with {len(arguments)} arguments, at most {MAX_ARGUMENTS}")
    key, *rest = arguments
    return ("EVAL", _SCRIPT, 1, key, name, *rest)
