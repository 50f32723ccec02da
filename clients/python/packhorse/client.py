"""The client: creates jobs, waits for outcomes, looks at what there is, and steers it.

Its methods stand in its parts: `creating.py`, `waiting.py`, `looking.py`, `changing.py` and
`jobtypes.py`.
"""

import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from packhorse import address, dialing
from packhorse.changing import Changing
from packhorse.creating import Creating
from packhorse.dialing import Dial
from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import ClientClosed
from packhorse.jobtypes import JobTypes
from packhorse.link import Identity, Patience
from packhorse.looking import Looking
from packhorse.session import Session
from packhorse.version import library
from packhorse.waiting import Waiting
from packhorse_protocol.messages import Role


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
) -> "Client":
    """A client of the broker at `url`, to be used with `async with`.

    `url`: `tcp://host:port`, `tls://host:port` or `unix:///path`, several with commas between
    them; else the environment's PACKHORSE_URL, else 127.0.0.1:7225.

    `client_id` and `secret` (`client.secret` of an earlier connection) resume a client, with the
    outcomes that it is still owed. `roles`: what this client may do, else all. `timeout`: how
    long the broker waits for a sign of life before it forgets the client.

    `wait_for_broker`: how long to try the first connection, None for ever. `outage_timeout`: how
    long a request waits for a lost connection to come back before it raises `ConnectionLost`.

    `stay`: leave without `bye`, so that the client can come back; by default so where a
    `client_id` was given. `tls`: how to speak TLS, by default with whom the system trusts (which
    SSL_CERT_FILE may name). `dial`: returns a connected socket, instead of an address.

    Raises `InvalidValue` for what can't be; of an id, a secret or a role `async with` raises it.
    """
    if dial is not None:
        endpoints = dialing.dialled(dial)
    else:
        endpoints = dialing.endpoints(address.resolve(url), tls)
    identity = Identity(
        id=client_id,
        secret=secret,
        roles=tuple(roles) if roles is not None else None,
        timeout_ms=milliseconds(timeout, "timeout"),
        library=library(),
    )
    patience = Patience(
        first_s=None if wait_for_broker is None else seconds(wait_for_broker, "wait_for_broker"),
        outage_s=seconds(outage_timeout, "outage_timeout"),
    )
    session = Session(endpoints, identity, patience)
    return Client(session, stay=client_id is not None if stay is None else stay)


class Client(Creating, Waiting, Looking, Changing, JobTypes):
    """Made by `connect`. All methods may be called concurrently.

    What is asked for in one turn of the event loop leaves in one frame, so a thousand
    concurrent `create` calls cost about as much as one `create_many`.
    """

    def __init__(self, session: Session, *, stay: bool) -> None:
        super().__init__(session)
        self._stay = stay
        self._opened = False

    async def __aenter__(self) -> Self:
        """Connects.

        Raises `BrokerUnavailable`, or `Refused` by a broker that wants no such client: it has a
        subclass for each reason, as `ClientExists` or `SecretWrong`.
        """
        if self._opened:
            raise ClientClosed("a client is opened once: make another one with connect()")
        self._opened = True
        await self._session.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close(bye=not self._stay)

    @property
    def id(self) -> str:
        """The client's id; with `secret` it outlives this connection and this process."""
        return self._session.welcome.client

    @property
    def secret(self) -> bytes:
        """What resumes this client: keep it like a password."""
        return self._session.welcome.secret

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment; requests wait for one."""
        return self._session.connected
