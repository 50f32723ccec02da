"""Brokers whose address is `tls://`, and those that only pretend to be one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from packhorse_conformance.certificates import Authority
from packhorse_conformance.scenario import scenario
from packhorse_conformance.scripted_broker import HOST
from packhorse_conformance.stage import Stage, view
from packhorse_conformance.verdict import expect

HERE: Final = f"IP:{HOST}"

CONNECT_MS: Final = 300
"""So that a library which tries again gives up soon."""


@contextmanager
def _authority() -> Iterator[Authority]:
    with TemporaryDirectory(prefix="packhorse-tls-") as folder:
        yield Authority(Path(folder))


@scenario("2")
async def speaks_tls(stage: Stage) -> None:
    """Within TLS all is as over TCP, and after a lost connection the client comes back by TLS."""
    with _authority() as authority:
        await stage.broker.encrypt(authority.serving(HERE))
        peer = await stage.connect(ca_file=authority.file)
        await stage.still_answers(peer)
        answer = stage.driver.do("get", jobs=["large"])
        payload = b"x" * 200_000
        peer.ok(await peer.expect("get"), view("large", payload=payload))
        [job] = (await answer.ok())["jobs"]
        expect(job.get("id") == "large", "the job `large`", job.get("id"))
        peer.abort()
        back, _ = await stage.comes_back()
        await stage.still_answers(back)


@scenario("2")
async def refuses_an_unknown_authority(stage: Stage) -> None:
    """Nothing is said to a broker whose certificate is by somebody who is not trusted."""
    with _authority() as trusted, _authority() as other:
        await stage.broker.encrypt(other.serving(HERE))
        await _says_nothing(stage, trusted.file)


@scenario("2")
async def refuses_another_host(stage: Stage) -> None:
    """Nothing is said to a broker whose certificate is for another host than the address's."""
    with _authority() as authority:
        await stage.broker.encrypt(authority.serving("DNS:elsewhere.example"))
        await _says_nothing(stage, authority.file)


async def _says_nothing(stage: Stage, ca_file: str) -> None:
    """The library gives up before the handshake of TLS is over."""
    url = stage.broker.url
    answer = stage.driver.do("connect", url=url, ca_file=ca_file, connect_timeout_ms=CONNECT_MS)
    peer = await stage.connects_before(answer)
    expect(peer is None, "that the client breaks the handshake off", "a connection")
    await answer.error()
