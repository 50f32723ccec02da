"""The wire's error codes, and what this package raises.

PackhorseProtocolError
+-- FramingError     the byte stream can't be cut into frames any more: close the connection
+-- MalformedMessage  one frame holds no acceptable message: answer it, go on
+-- LocalProtocolError   our own side asked for something that the protocol does not allow
    +-- FrameTooLarge    the message is larger than the other side accepts: cut it smaller
"""

from enum import StrEnum
from typing import Final

from packhorse_protocol.limits import MAX_ELEMENTS


class Code(StrEnum):
    """Stable codes of `error` frames and of refused items. They are only ever added to."""

    # the connection
    FRAME_TOO_LARGE = "frame_too_large"
    FRAME_MALFORMED = "frame_malformed"
    HELLO_REQUIRED = "hello_required"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    VERSION_UNSUPPORTED = "version_unsupported"
    CLIENT_EXISTS = "client_exists"
    SECRET_WRONG = "secret_wrong"  # noqa: S105 (the code, no secret)
    SUPERSEDED = "superseded"
    SILENT = "silent"
    CLIENT_GONE = "client_gone"
    SLOW_READER = "slow_reader"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    DRAINING = "draining"
    # the request
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    # the item
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_CLAIM = "stale_claim"
    WRONG_STATE = "wrong_state"
    NOT_HANDLER = "not_handler"
    DUPLICATE = "duplicate"
    QUOTA = "quota"
    TYPE_DRAINING = "type_draining"
    STORE_FULL = "store_full"
    NOT_DURABLE = "not_durable"


CODE_SCOPES: Final[dict[str, tuple[Code, ...]]] = {
    "connection": (
        Code.FRAME_TOO_LARGE,
        Code.FRAME_MALFORMED,
        Code.HELLO_REQUIRED,
        Code.HANDSHAKE_TIMEOUT,
        Code.VERSION_UNSUPPORTED,
        Code.CLIENT_EXISTS,
        Code.SECRET_WRONG,
        Code.SUPERSEDED,
        Code.SILENT,
        Code.CLIENT_GONE,
        Code.SLOW_READER,
        Code.TOO_MANY_CONNECTIONS,
        Code.DRAINING,
    ),
    "request": (
        Code.MALFORMED,
        Code.UNSUPPORTED,
        Code.FORBIDDEN,
        Code.TOO_MANY,
        Code.UNAVAILABLE,
        Code.INTERNAL,
    ),
    "item": (
        Code.TOO_LARGE,
        Code.NOT_FOUND,
        Code.CONFLICT,
        Code.STALE_CLAIM,
        Code.WRONG_STATE,
        Code.NOT_HANDLER,
        Code.DUPLICATE,
        Code.QUOTA,
        Code.TYPE_DRAINING,
        Code.STORE_FULL,
        Code.NOT_DURABLE,
    ),
}
"""What a code speaks of; those of the connection end it (`draining` may refuse a request too)."""

RETRYABLE = frozenset(
    {
        Code.CLIENT_EXISTS,
        Code.HANDSHAKE_TIMEOUT,
        Code.SILENT,
        Code.SLOW_READER,
        Code.TOO_MANY_CONNECTIONS,
        Code.DRAINING,
        Code.UNAVAILABLE,
        Code.INTERNAL,
        Code.QUOTA,
        Code.STORE_FULL,
    }
)
"""Codes after which the same request may succeed later, unchanged."""


class PackhorseProtocolError(Exception):
    """Root of what this package raises."""


class FramingError(PackhorseProtocolError):
    """The stream of frames is broken: `code` is sent, then the connection ends."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MalformedMessage(PackhorseProtocolError):
    """A whole frame that is no acceptable message.

    `request_id` is the id found in it, if one could be read; `path` names the field at fault
    (`jobs[3].payload`), empty where the frame as a whole is meant.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code = Code.MALFORMED,
        path: str = "",
        request_id: int | None = None,
    ) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.code = code
        self.message = message
        self.path = path
        self.request_id = request_id


class LocalProtocolError(PackhorseProtocolError):
    """A call that would break the protocol: our bug, nothing was sent."""


class FrameTooLarge(LocalProtocolError):
    """A message whose frame the other side would not accept: for its bytes, or for its many
    elements (0: they were not counted). `batching.py` cuts it smaller."""

    def __init__(self, *, size_bytes: int, limit_bytes: int, elements: int = 0) -> None:
        if size_bytes > limit_bytes:
            surplus = f"of {size_bytes} bytes, at most {limit_bytes}"
        else:
            surplus = f"of {elements} elements, at most {MAX_ELEMENTS}"
        super().__init__(f"a frame {surplus} are accepted by the other side")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        self.elements = elements
