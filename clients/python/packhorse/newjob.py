"""What a creator says of a job."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from packhorse.errors import InvalidValue
from packhorse.ids import new_job_id
from packhorse.payload import NOTHING, pack_arguments
from packhorse_protocol.messages import NewJob as NewJobMessage


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create: `NewJob("thumb", {"url": "cat.png"}, attempts=3)`.

    `arguments` are packed with msgpack: a map is passed as keyword arguments, any other value
    as the one positional argument, none at all as no argument.
    """

    type: str
    """The name that routes it to those who can run it."""
    arguments: object = NOTHING
    _: KW_ONLY
    payload: bytes | None = None
    """Bytes to send as they are, instead of `arguments`."""
    job_id: str | None = None
    """An id of your own makes creating repeatable across programs; else one is made."""
    key: str | None = None
    """What the job is about: a tenant, a document."""
    headers: Mapping[str, str] | None = None
    """A small map carried untouched beside the payload."""
    attempts: int = 1
    """How often it may be tried in all."""
    persistent: bool = False
    """Whether it stays when its last handler has handled it."""

    def message(self) -> NewJobMessage:
        """As it is sent. Raises `InvalidValue`, `PayloadError`."""
        if self.payload is not None and self.arguments is not NOTHING:
            raise InvalidValue("a job has arguments or a payload of its own, not both")
        payload = self.payload if self.payload is not None else pack_arguments(self.arguments)
        return NewJobMessage(
            type=self.type,
            payload=payload,
            id=self.job_id if self.job_id is not None else new_job_id(),
            key=self.key,
            headers=self.headers or None,
            attempts=self.attempts,
            persistent=self.persistent,
        )
