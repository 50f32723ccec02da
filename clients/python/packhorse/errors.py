"""What the client raises.

PackhorseError
+-- InvalidValue          an argument that can't be: nothing was sent (also a ValueError)
|   +-- PayloadError      a payload or result that can't be packed or unpacked
+-- OutcomeTimeout        no end in the time given; the job goes on (also a TimeoutError)
+-- ClientClosed          the client was closed, or not opened yet
+-- ConnectionLost        no answer came: whether the request was carried out is not known
|   +-- BrokerUnavailable no broker could be reached: nothing was sent
+-- Refused               the broker said no: `code`, `retryable`, `retry_after_ms`, `details`
|   +-- TooLarge  NotFound  Conflict  StaleClaim  WrongState  NotHandler       (one item)
|   +-- Duplicate  QuotaExceeded  TypeDraining  StoreFull  NotDurable           (a new job)
|   +-- Malformed  Unsupported  Forbidden  TooMany  Unavailable  Internal      (a request)
|   +-- VersionUnsupported  ClientExists  SecretWrong  Superseded              (the session)
|   +-- TooManyConnections  Draining  ClientGone
+-- SomeRefused           some items of a batch were refused: `results` has each item's own
+-- JobFailed             the job ended as FAILED: `outcome` says why
|   +-- JobCancelled  JobTimedOut  RunnerLost                        (not by the runner's word)
+-- Fail                  raised by a job function that wants to fail its attempt
+-- ProcessDied           the process in which a job function ran has ended
+-- FailedInProcess       what middleware sees of a job function that failed in its process
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final

from packhorse_protocol.errors import Code


class PackhorseError(Exception):
    """Root of all that this package raises."""


class InvalidValue(PackhorseError, ValueError):
    """An argument that can't be; the message names it and what is allowed. Nothing was sent."""


class PayloadError(InvalidValue):
    """A payload or result that can't be packed, unpacked or passed to the job function."""


class OutcomeTimeout(PackhorseError, TimeoutError):
    """The job has not ended in the time given. It goes on; wait again with `outcome()`."""


class ClientClosed(PackhorseError):
    """The client is closed or was never opened: use it inside `async with`."""


class ConnectionLost(PackhorseError):
    """No answer came in time: whether the request was carried out is not known.

    A create can be repeated with the same job id: the job will exist once.
    """


class BrokerUnavailable(ConnectionLost):
    """No broker could be reached. `tried` has each address with what went wrong there."""

    def __init__(self, message: str, *, tried: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.tried = dict(tried or {})


class Refused(PackhorseError):
    """The broker refused a request or one item of it.

    `code` is stable, `message` is for people; `retryable`: the same request may succeed later,
    not before `retry_after_ms` if that is set; `details` names what was wrong (`path`, `limit`,
    `state`, ...); `subject` is the id of the job it is about, if it is about one.
    """

    CODE: ClassVar[Code | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_ms: int | None = None,
        details: Mapping[str, str] | None = None,
        subject: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or (str(self.CODE) if self.CODE else "")
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.details = dict(details or {})
        self.subject = subject

    def __str__(self) -> str:
        about = f"job {self.subject}: " if self.subject else ""
        return f"{about}{self.message} [{self.code}]"


class TooLarge(Refused):
    """A payload, result or message is larger than this broker takes; `details` has the limit."""

    CODE = Code.TOO_LARGE


class NotFound(Refused):
    """There is no such job (any more): never created, handled by all its handlers, or removed."""

    CODE = Code.NOT_FOUND


class Conflict(Refused):
    """A job with this id and other content exists."""

    CODE = Code.CONFLICT


class StaleClaim(Refused):
    """The claim is over: it ended, was revoked, or another runner has the job now."""

    CODE = Code.STALE_CLAIM


class WrongState(Refused):
    """The job's state does not allow this; `details["state"]` has it."""

    CODE = Code.WRONG_STATE


class NotHandler(Refused):
    """This client does not handle the job: create it with `handle=True`, or call `handle()`."""

    CODE = Code.NOT_HANDLER


class Duplicate(Refused):
    """Another job of the type holds the unique key: a create said to reject duplicates, or a job
    that is to be retried had the key before."""

    CODE = Code.DUPLICATE

    @property
    def holder(self) -> str | None:
        """The id of the job that holds the key."""
        return self.details.get("job")

    @property
    def state(self) -> str | None:
        """The state that the holder was in."""
        return self.details.get("state")


class QuotaExceeded(Refused):
    """The type has as many jobs or bytes as it may: `retryable`, when some have ended.

    It is raised at once, so that a program can slow down; `details["limit"]` has the limit.
    """

    CODE = Code.QUOTA


class TypeDraining(Refused):
    """The type takes no new jobs until somebody undrains it."""

    CODE = Code.TYPE_DRAINING


class StoreFull(Refused):
    """The store's memory is nearly full: `retryable`, when some jobs have ended.

    It is raised at once, so that a program can slow down.
    """

    CODE = Code.STORE_FULL


class NotDurable(Refused):
    """The job asks for a durability that the broker's store does not offer."""

    CODE = Code.NOT_DURABLE


class Malformed(Refused):
    """A request that breaks the protocol; `details["path"]` says where in the message."""

    CODE = Code.MALFORMED


class Unsupported(Refused):
    """This broker does not know the request."""

    CODE = Code.UNSUPPORTED


class Forbidden(Refused):
    """The client's roles do not allow this."""

    CODE = Code.FORBIDDEN


class TooMany(Refused):
    """More than the broker takes at once."""

    CODE = Code.TOO_MANY


class Unavailable(Refused):
    """The broker can't reach its store at the moment; nothing was changed."""

    CODE = Code.UNAVAILABLE


class Internal(Refused):
    """The broker made a mistake; its log has the details."""

    CODE = Code.INTERNAL


class VersionUnsupported(Refused):
    """This broker speaks no version of the protocol that this client knows."""

    CODE = Code.VERSION_UNSUPPORTED


class ClientExists(Refused):
    """A client with this id is registered: give its secret, or take another id."""

    CODE = Code.CLIENT_EXISTS


class SecretWrong(Refused):
    """The secret is not that of the client with this id."""

    CODE = Code.SECRET_WRONG


class Superseded(Refused):
    """Another program resumed this client with its id and secret: this one has ended."""

    CODE = Code.SUPERSEDED


class TooManyConnections(Refused):
    """The broker has no room for one more connection."""

    CODE = Code.TOO_MANY_CONNECTIONS


class Draining(Refused):
    """The broker is going away and takes nothing new."""

    CODE = Code.DRAINING


class ClientGone(Refused):
    """The broker removed this client, silent for too long: its claims are lost."""

    CODE = Code.CLIENT_GONE


def _by_code() -> dict[str, type[Refused]]:
    classes: dict[str, type[Refused]] = {}
    for cls in Refused.__subclasses__():
        if cls.CODE is None or cls.CODE in classes:
            raise TypeError(f"{cls.__name__}: missing or repeated code {cls.CODE}")
        classes[cls.CODE] = cls
    return classes


REFUSALS: Final[Mapping[str, type[Refused]]] = _by_code()
"""Wire code -> class; a code that is not here is raised as `Refused` itself."""


class SomeRefused(PackhorseError):
    """Some items of a batch were refused; the others were carried out.

    `results` has one entry per item, in order: what was returned for it, or its exception.
    """

    def __init__(self, results: Sequence[object]) -> None:
        self.results = list(results)
        self.refusals = [item for item in results if isinstance(item, PackhorseError)]
        first = f"; the first: {self.refusals[0]}" if self.refusals else ""
        super().__init__(f"{len(self.refusals)} of {len(self.results)} items were refused{first}")


class Fail(PackhorseError):
    """Raised by a job function to fail this attempt on purpose.

    `retry=False` ends the job although attempts remain; `retry_in` is how long to wait until the
    next one (`"5m"`, seconds or a `timedelta`), instead of the job's backoff. `error_type` is what
    handlers see as the error's type. Raises `InvalidValue` for both `retry=False` and `retry_in`.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool = True,
        retry_in: str | int | float | timedelta | None = None,
        error_type: str = "Fail",
    ) -> None:
        if retry_in is not None and not retry:
            raise InvalidValue("Fail: retry_in means that there is a next attempt: retry=False")
        super().__init__(message)
        self.message = message
        self.retry = retry
        self.retry_in = retry_in
        self.error_type = error_type
