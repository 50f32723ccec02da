"""`packhorse.client` without `await`. Made by `generate_sync.py`."""

import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from packhorse import client as asynchronous
from packhorse.dialing import Dial
from packhorse.durations import Duration
from packhorse.loopthread import LoopThread
from packhorse.sync.changing import Changing
from packhorse.sync.creating import Creating
from packhorse.sync.jobtypes import JobTypes
from packhorse.sync.looking import Looking
from packhorse.sync.waiting import Waiting
from packhorse_protocol.messages import Role


class Client(Creating, Waiting, Looking, Changing, JobTypes):
    """Made by `connect`. All methods may be called concurrently.

    What is asked for in one turn of the event loop leaves in one frame, so a thousand
    concurrent `create` calls cost about as much as one `create_many`.
    """

    def __init__(self, wrapped: asynchronous.Client) -> None:
        self._wrapped = wrapped
        self._loop = LoopThread()

    def __enter__(self) -> Self:
        """Connects. Raises `BrokerUnavailable`, or `Refused` if it wants no such client."""
        self._loop.start()
        try:
            self._loop.run(self._wrapped.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._loop.run(self._wrapped.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop.close()

    @property
    def id(self) -> str:
        """The client's id; with `secret` it outlives this connection and this process."""
        return self._wrapped.id

    @property
    def secret(self) -> bytes:
        """What resumes this client: keep it like a password."""
        return self._wrapped.secret

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment; requests wait for one."""
        return self._wrapped.connected


def connect(
    url: str | None = None,
    *,
    client_id: str | None = None,
    secret: bytes | None = None,
    roles: Sequence[Role] | None = None,
    timeout: Duration = "30s",
    wait_for_broker: Duration | None = "0s",
    outage_timeout: Duration = "30s",
    stay: bool | None = None,
    tls: ssl.SSLContext | None = None,
    dial: Dial | None = None,
) -> Client:
    """A client of the broker at `url`, to be used with `with`. As `packhorse.connect`."""
    return Client(
        asynchronous.connect(
            url,
            client_id=client_id,
            secret=secret,
            roles=roles,
            timeout=timeout,
            wait_for_broker=wait_for_broker,
            outage_timeout=outage_timeout,
            stay=stay,
            tls=tls,
            dial=dial,
        )
    )
