"""Messages to and from frame bodies: strict msgpack maps, bounded in depth, size and elements."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

import msgpack

from packhorse_protocol import decoding, encoding, limits
from packhorse_protocol.compiler import (
    Decoder,
    Encoder,
    Refusal,
    decoder_of,
    encoder_of,
    missing_or_wrong,
    wrong,
)
from packhorse_protocol.errors import (
    Code,
    FrameTooLarge,
    LocalProtocolError,
    MalformedMessage,
)
from packhorse_protocol.messages import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerMessage,
    ClientMessage,
    Ok,
)
from packhorse_protocol.parts import Problem
from packhorse_protocol.records import TAG

_OK: Final = "ok"
_PROBLEM: Final = "problem"
"""Key of a refused item's entry in an `ok`: no result record may have a field of this name."""

_MAX_REQUEST_ID: Final = 2**63 - 1

_REASON_CHARS: Final = 200
"""How much of msgpack's own words goes into an error: they may quote the input."""

_SHOWNTAG_CHARS: Final = 40
"""How much of an unknown tag an error shows."""

_UTF8_BYTES: Final = 4
"""The most bytes that one code point takes."""


def _no_extension(code: int, _: bytes) -> NoReturn:
    raise ValueError(f"an extension of type {code}")


_unpackb: Final = partial(
    msgpack.unpackb,
    raw=False,
    use_list=False,
    strict_map_key=True,
    max_str_len=limits.MAX_TRACEBACK_CHARS * _UTF8_BYTES,
    max_bin_len=limits.MAX_FRAME_BYTES,
    max_map_len=limits.MAX_MAP_ITEMS,
    # This refuses timestamps, which never come to the hook; the hook the empty extensions.
    max_ext_len=0,
    ext_hook=_no_extension,
)
_ALLOCATED_ITEMS: Final = 1_024
"""msgpack makes room for an array when it reads its length: arrays of so many items, nested as
deeply as it goes, take 8 MiB. Longer ones are read only if the body has all that they announce."""

# `default` packs other mappings than dicts; the encoders let nothing else through.
_packb: Final[Callable[[object], bytes]] = partial(msgpack.packb, default=dict)

_UNPACK_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    msgpack.exceptions.UnpackException,
)
"""What msgpack raises for input that is none, is too deep, too large or has odd map keys."""

_ARRAYS: Final = frozenset({list, tuple})
_SCALARS: Final = frozenset({bool, int, str, bytes, type(None)})
"""Types of what is packed; besides there are maps, and texts of an enumeration."""

_ENCODERS: Final[dict[type, Encoder]] = {
    record: encoder_of(record, tag)
    for messages in (CLIENT_MESSAGES, BROKER_MESSAGES)
    for tag, record in messages.items()
    if record is not Ok
}
_RESULT_ENCODERS: Final[dict[type, Encoder]] = {
    record: encoder_of(record) for record in RESULTS.values()
}
_CLIENT_DECODERS: Final[dict[str, Decoder]] = {
    tag: decoder_of(record) for tag, record in CLIENT_MESSAGES.items()
}
_BROKER_DECODERS: Final[dict[str, Decoder]] = {
    tag: decoder_of(record) for tag, record in BROKER_MESSAGES.items() if record is not Ok
}
_encode_problem: Final = encoder_of(Problem)
_decode_problem: Final = decoder_of(Problem)


class Size(NamedTuple):
    """What a part of a message takes of its frame; both are bounded."""

    bytes: int
    elements: int


def encode(
    message: ClientMessage | BrokerMessage, limit_bytes: int = limits.MAX_FRAME_BYTES
) -> bytes:
    """The body of the frame for a message. Fields that have their default are left out.

    Raises `LocalProtocolError` naming the field where a value is not what the wire allows,
    `FrameTooLarge` if the body has more than `limit_bytes`, or more than `limits.MAX_ELEMENTS`.
    """
    body = encoding.encoded(message)
    if body is None:
        return write_message(message, limit_bytes)
    if len(body) > limit_bytes:
        raise FrameTooLarge(size_bytes=len(body), limit_bytes=limit_bytes, elements=0)
    return body


def write_message(message: ClientMessage | BrokerMessage, limit_bytes: int) -> bytes:
    """As `encode`, for any message."""
    try:
        if type(message) is Ok:
            fields = _ok_fields(message)
        elif encoder := _ENCODERS.get(type(message)):
            fields = encoder(message)
        else:
            raise LocalProtocolError(f"{type(message).__name__} is no message")
        body = _packb(fields)
    except (Refusal, UnicodeEncodeError) as error:
        raise _unsendable(message, error) from None
    # An entry takes a byte at least: a body no longer than the limit can't have too many.
    elements = _elements(fields) if len(body) > limits.MAX_ELEMENTS else 0
    if len(body) > limit_bytes or elements > limits.MAX_ELEMENTS:
        raise FrameTooLarge(size_bytes=len(body), limit_bytes=limit_bytes, elements=elements)
    return body


def part_size(part: Any) -> Size:
    """How much of a frame a part of a message (a claim, an outcome, a result) takes, beside its
    place in an array.

    Raises `LocalProtocolError` as `encode` does.
    """
    record: type = type(part)
    try:
        fields = encoder_of(record)(part)
        return Size(len(_packb(fields)), _elements(fields))
    except (Refusal, UnicodeEncodeError) as error:
        raise _unsendable(part, error) from None


def _elements(container: Any) -> int:
    """The entries of a container and of all within it, as a receiver counts them."""
    values = container if type(container) in _ARRAYS else container.values()
    count = len(values) or 1
    for value in values:
        if type(value) not in _SCALARS and not isinstance(value, str):
            count += _elements(value)
    return count


def _unsendable(message: object, error: Refusal | UnicodeEncodeError) -> LocalProtocolError:
    name = type(message).__name__
    if isinstance(error, Refusal):
        return LocalProtocolError(f"{name}.{error.path}: {error.message}")
    return LocalProtocolError(f"{name} holds a text that UTF-8 can't express: {error.reason}")


def decode_client_message(body: bytes) -> ClientMessage:
    """The message that a client sent.

    Raises `MalformedMessage`, and nothing else, whatever the bytes are.
    """
    message: ClientMessage | None = decoding.client_message(body)
    return read_client_message(body) if message is None else message


def read_client_message(body: bytes) -> ClientMessage:
    """As `decode_client_message`, for any body."""
    fields = _unpack(body)
    message: ClientMessage = _decode(fields, _known(_CLIENT_DECODERS, fields))
    return message


def decode_broker_message(body: bytes, results_of: Callable[[int], type | None]) -> BrokerMessage:
    """The message that a broker sent.

    `results_of` names the result record of a pending request by its id, None where no such
    request is pending: the entries of an `ok` are read as that record.

    Raises `MalformedMessage`, and nothing else, whatever the bytes are.
    """
    message: BrokerMessage | None = decoding.broker_message(body, results_of)
    return read_broker_message(body, results_of) if message is None else message


def read_broker_message(body: bytes, results_of: Callable[[int], type | None]) -> BrokerMessage:
    """As `decode_broker_message`, for any body."""
    fields = _unpack(body)
    if fields.get(TAG) == _OK:
        return _decode_ok(fields, results_of)
    message: BrokerMessage = _decode(fields, _known(_BROKER_DECODERS, fields))
    return message


# -- msgpack --------------------------------------------------------------------------------


class _TooManyElements(ValueError):
    """A frame holds more array and map entries than `limits.MAX_ELEMENTS`."""


def _unpack(body: bytes) -> dict[str, object]:
    try:
        fields = _values(body)
    except _UNPACK_ERRORS as error:
        reason = str(error)[:_REASON_CHARS] or type(error).__name__
        raise MalformedMessage(f"not one value of the msgpack subset: {reason}") from None
    if type(fields) is not dict:
        raise _malformed(wrong("a map", fields))
    return fields


def _values(body: bytes) -> object:
    try:
        return _counted(body, _ALLOCATED_ITEMS)
    except _TooManyElements:
        raise
    except ValueError:
        if len(body) <= _ALLOCATED_ITEMS:
            raise
    walker = msgpack.Unpacker(max_buffer_size=len(body))
    walker.feed(body)
    walker.skip()
    return _counted(body, limits.MAX_ARRAY_ITEMS)


def _counted(body: bytes, most_items: int) -> object:
    # An entry takes a byte at least: a frame no longer than the limit can't have too many.
    count = _entry_counter() if len(body) > limits.MAX_ELEMENTS else None
    return _unpackb(body, object_hook=count, list_hook=count, max_array_len=most_items)


def _entry_counter() -> Callable[[Any], Any]:
    """A hook that refuses a frame while it is being read, once it has too many entries.

    It runs as each container ends; an empty one counts as one entry.
    """
    left = limits.MAX_ELEMENTS

    def count(container: Any) -> Any:
        nonlocal left
        left -= len(container) or 1
        if left < 0:
            raise _TooManyElements(f"more than {limits.MAX_ELEMENTS} elements in one frame")
        return container

    return count


# -- maps to messages -----------------------------------------------------------------------


def _known(decoders: Mapping[str, Decoder], fields: Mapping[str, object]) -> Decoder:
    tag = fields.get(TAG)
    if type(tag) is not str:
        problem = wrong("text", tag) if TAG in fields else Refusal("is missing: must be text")
        raise _malformed(problem.under(TAG), fields)
    decoder = decoders.get(tag)
    if decoder is None:
        raise MalformedMessage(
            f"no message {tag[:_SHOWNTAG_CHARS]!r} is known here",
            code=Code.UNSUPPORTED,
            path=TAG,
            request_id=_request_id(fields),
        )
    return decoder


def _decode(fields: dict[str, object], decoder: Decoder) -> Any:
    try:
        return decoder(fields)
    except Refusal as refusal:
        raise _malformed(refusal, fields) from None


def _malformed(refusal: Refusal, fields: Mapping[str, object] | None = None) -> MalformedMessage:
    return MalformedMessage(
        refusal.message,
        path=refusal.path,
        request_id=None if fields is None else _request_id(fields),
    )


def _request_id(fields: Mapping[str, object]) -> int | None:
    found = fields.get("id")
    return found if type(found) is int and 1 <= found <= _MAX_REQUEST_ID else None


# -- replies --------------------------------------------------------------------------------


def _ok_fields(message: Ok) -> dict[str, object]:
    if _request_id({"id": message.id}) is None:
        raise wrong("a request's id", message.id).under("id")
    results: list[dict[str, object]] = []
    try:
        for entry in message.results:
            record = type(entry)
            if record is Problem:
                results.append({_PROBLEM: _encode_problem(entry)})
            elif record in _RESULT_ENCODERS:
                results.append(_RESULT_ENCODERS[record](entry))
            else:
                raise Refusal(f"{record.__name__} is no result of a request")
    except Refusal as refusal:
        raise refusal.under(len(results)).under("results") from None
    fields: dict[str, object] = {TAG: _OK, "id": message.id, "results": results}
    if message.durability is not None:
        fields["durability"] = message.durability
    return fields


def _decode_ok(fields: dict[str, object], results_of: Callable[[int], type | None]) -> Ok:
    request_id = _request_id(fields)
    if request_id is None:
        raise MalformedMessage("must be a request's id", path="id")
    record = results_of(request_id)
    if record is None:
        raise MalformedMessage("answers no pending request", path="id", request_id=request_id)
    entries = fields.get("results")
    if type(entries) is not tuple:
        raise _malformed(missing_or_wrong("results", "an array", fields), fields)
    decode = decoder_of(record)
    results: list[object] = []
    try:
        for entry in entries:
            if type(entry) is dict and _PROBLEM in entry:
                results.append(_decode_problem(entry[_PROBLEM]))
            else:
                results.append(decode(entry))
    except Refusal as refusal:
        raise _malformed(refusal.under(len(results)).under("results"), fields) from None
    durability = fields.get("durability")
    if durability is not None and durability != "not_met":
        raise _malformed(wrong("not_met", durability).under("durability"), fields)
    return Ok(id=request_id, results=tuple(results), durability=durability)
