"""Tag -> message: filled by the decorators with which the messages are declared."""

from collections.abc import Callable
from typing import Final, dataclass_transform

from packhorse_protocol.records import Record, struct_of

CLIENT_MESSAGES: Final[dict[str, type]] = {}
"""Tag -> record of what a client may send."""
BROKER_MESSAGES: Final[dict[str, type]] = {}
"""Tag -> record of what a broker may send."""
RESULTS: Final[dict[type, type]] = {}
"""Request -> record of each entry in the `results` of its `ok`."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def from_client(tag: str, *, results: type | None = None) -> Callable[[type[Record]], type[Record]]:
    """Registers a client's message; with `results` it is a request."""

    def register(cls: type[Record]) -> type[Record]:
        built = struct_of(cls, tag)
        CLIENT_MESSAGES[tag] = built
        if results is not None:
            RESULTS[built] = results
        return built

    return register


@dataclass_transform(frozen_default=True, kw_only_default=True)
def from_broker(tag: str) -> Callable[[type[Record]], type[Record]]:
    """Registers a broker's message."""

    def register(cls: type[Record]) -> type[Record]:
        built = struct_of(cls, tag)
        BROKER_MESSAGES[tag] = built
        return built

    return register
