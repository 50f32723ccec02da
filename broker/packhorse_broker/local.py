"""A whole broker inside the caller's process: for tests and small programs.

    async with LocalBroker() as broker, broker.connect() as client:
        job = await client.create("thumb", {"url": "a.png"})

Clients within the process are joined to it by a socket pair, without a listener: they speak the
same protocol and have the same API as over the network.
"""

import contextlib
import socket
from typing import Any

import packhorse
from packhorse_broker.broker import Broker
from packhorse_broker.config import Config
from packhorse_broker.logs import set_up_unless_done
from packhorse_broker.store.embedded import EmbeddedStore


class LocalBroker:
    """`async with LocalBroker(...)`; then `connect` as often as needed.

    `store_url` uses a store that is there; without it an ephemeral embedded one is started and
    goes with the broker. `settings` are fields of Config.
    """

    def __init__(self, *, store_url: str | None = None, **settings: Any) -> None:
        settings.setdefault("listen", ())
        self._config = Config(**settings)
        self._store_url = store_url
        self._closing = contextlib.AsyncExitStack()
        self._broker: Broker | None = None

    async def __aenter__(self) -> "LocalBroker":
        set_up_unless_done()
        async with contextlib.AsyncExitStack() as stack:
            url = self._store_url
            if url is None:
                store = EmbeddedStore(ephemeral=True)
                await store.start()
                stack.push_async_callback(store.stop)
                url = store.url
            self._broker = Broker(self._config, url, ephemeral=self._store_url is None)
            stack.push_async_callback(self._broker.close)
            await self._broker.start()
            self._closing = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def broker(self) -> Broker:
        assert self._broker is not None, "use it in an `async with`"
        return self._broker

    @property
    def addresses(self) -> list[str]:
        """Where it listens as well, if `listen` was given."""
        return self.broker.addresses

    async def dial(self) -> socket.socket:
        """A new connection to the broker: the client's end of a socket pair."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await self.broker.attach(ours)
        return theirs

    def connect(self, **options: Any) -> packhorse.Client:
        """A client of this broker; options as of `packhorse.connect`."""
        return packhorse.connect(dial=self.dial, **options)
