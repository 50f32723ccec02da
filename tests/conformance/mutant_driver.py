"""The driver of the Python client, with one rule broken: `mutant_driver.py NAME`.

Each mutant is a function that breaks the library, or the driver, in this process alone.
"""

import asyncio
import ssl
import sys
from collections.abc import Callable
from typing import Any

from packhorse import backoff, driver, outcomes
from packhorse.groups import GroupBook
from packhorse.link import Link
from packhorse.overtaking import Overtaking
from packhorse.requests import Requests
from packhorse.runner import Runner
from packhorse.transport import Wire
from packhorse_protocol.connection import ClientConnection


def nothing(*_: Any, **__: Any) -> None:
    """In the place of what is to be done."""


def put(owner: Any, name: str, value: object) -> None:
    """Replaces a method."""
    setattr(owner, name, value)


def never_beats() -> None:
    put(Wire, "_beat_when_silent", nothing)


def hears_no_silence() -> None:
    put(Wire, "_end_when_unheard", nothing)


def forgets_its_secret() -> None:
    begin = Link._begin

    def forgetful(self: Link, *arguments: Any) -> None:
        begin(self, *arguments)
        self._secret = None

    put(Link, "_begin", forgetful)


def takes_once() -> None:
    put(Runner, "_connected", nothing)


def runs_twice() -> None:
    claimed = Runner._claimed

    def twice(self: Runner, claims: Any) -> None:
        self._runs = {}
        claimed(self, claims)

    put(Runner, "_claimed", twice)


def ignores_the_loss() -> None:
    connected = Runner._connected
    put(Runner, "_connected", lambda self, _: connected(self, False))


def ignores_revocations() -> None:
    put(Runner, "_revoked", nothing)


def ignores_cancellations() -> None:
    put(Runner, "_cancelling", nothing)


def takes_any_version() -> None:
    admit = ClientConnection._admit_welcome

    def credulous(self: ClientConnection, welcome: Any) -> None:
        self._versions = (welcome.version,)
        admit(self, welcome)

    put(ClientConnection, "_admit_welcome", credulous)


def ignores_in_flight() -> None:
    _with_limit("in_flight")


def ignores_the_batch() -> None:
    _with_limit("batch")


def _with_limit(name: str) -> None:
    connected = Requests.connected

    def boundless(self: Requests, wire: Any, limits: Any) -> None:
        fields = {key: getattr(limits, key) for key in limits.__struct_fields__}
        connected(self, wire, type(limits)(**{**fields, name: 1_000}))

    put(Requests, "connected", boundless)


def never_handles() -> None:
    handled = outcomes.OutcomeBook._handled

    def forgetful(self: Any, *arguments: Any) -> Any:
        handled(self, *arguments).cancel()
        return asyncio.get_running_loop().create_future()

    put(outcomes.OutcomeBook, "_handled", forgetful)


def handles_early() -> None:
    put(Overtaking, "creating", nothing)


def repeats_at_once() -> None:
    retry = Requests._retry
    put(backoff, "wait_s", lambda _: 0.0)
    put(Requests, "_retry", lambda self, lane, entry, _: retry(self, lane, entry, None))


def answers_for_itself() -> None:
    pushed = GroupBook.pushed

    def own(self: GroupBook, messages: Any) -> None:
        self._requests.handled_for_group = _OwnLane(self._requests)  # type: ignore[assignment]
        pushed(self, messages)

    put(GroupBook, "pushed", own)


class _OwnLane:
    """Answers for the client what came for its group."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def submit(self, item: Any) -> Any:
        return self._requests.handled.submit(item.job)


def fights_back() -> None:
    put(Link, "_judge", nothing)


def sends_text() -> None:
    send = ClientConnection.send

    def as_text(self: ClientConnection, message: Any) -> bytes:
        # Binary of one byte length becomes text of one byte length: as old libraries write it.
        return send(self, message).replace(b"\xa7payload\xc4", b"\xa7payload\xd9")

    put(ClientConnection, "send", as_text)


def answers_twice() -> None:
    say = driver.say

    def twice(line: Any) -> None:
        say(line)
        if "ok" in line:
            say(line)

    driver.say = twice


def trusts_everybody() -> None:
    _with_checks(check_hostname=False, verify_mode=ssl.CERT_NONE)


def trusts_any_host() -> None:
    _with_checks(check_hostname=False)


def _with_checks(**checks: Any) -> None:
    make = ssl.create_default_context

    def careless(**options: Any) -> ssl.SSLContext:
        context = make(**options)
        for name, value in checks.items():
            setattr(context, name, value)
        return context

    put(ssl, "create_default_context", careless)


def says_more() -> None:
    say = driver.say

    def chatty(line: Any) -> None:
        sys.stdout.write("about to say something\n")
        say(line)

    driver.say = chatty


def ends_badly() -> None:
    async def badly(self: driver.Driver) -> None:
        sys.exit(3)

    put(driver.Driver, "end", badly)


def crashes() -> None:
    async def crashing(self: driver.Driver, line: Any) -> Any:
        sys.exit(4)

    put(driver.Driver, "get", crashing)


def has_no_cancel() -> None:
    async def lacking(self: driver.Driver, line: Any) -> Any:
        raise driver.Unsupported("cancel is left out")

    put(driver.Driver, "cancel", lacking)


def main(name: str) -> None:
    mutate: Callable[[], None] = globals()[name]
    mutate()
    asyncio.run(driver.main())


if __name__ == "__main__":
    main(sys.argv[1])
