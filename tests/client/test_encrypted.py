"""Clients and workers whose way to the broker is encrypted, by what stands before it."""

import asyncio
import gc
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from packhorse import BrokerUnavailable, Worker, connect, sync
from packhorse_broker.local import LocalBroker
from tests.support.terminator import Streams, terminated
from tests.support.tls import OPENSSL, Certificates

pytestmark = pytest.mark.skipif(shutil.which(OPENSSL) is None, reason="openssl is not installed")


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def url(tls: Certificates, store_url: str, prefix: str) -> AsyncIterator[str]:
    async with LocalBroker(store_url=store_url, prefix=prefix) as broker:

        async def dial() -> Streams:
            return await asyncio.open_connection(sock=await broker.dial())

        async with terminated(dial, tls.serving) as url:
            yield url


no_unclosed_warning = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""asyncio may leave the transport of a handshake that failed to the collector of garbage."""


@contextmanager
def refused(match: str) -> Iterator[None]:
    """What is within fails so. The garbage is collected while its warning is expected."""
    with pytest.raises(BrokerUnavailable, match=match):
        yield
    gc.collect()


async def test_a_job_goes_through_encrypted_connections(url: str, tls: Certificates) -> None:
    worker = Worker(url, tls=tls.trusting)

    @worker.job("reverse")
    async def reverse(text: str) -> str:
        return text[::-1]

    async with worker, connect(url, tls=tls.trusting) as client:
        long = "ab" * 100_000
        assert await client.run("reverse", long) == long[::-1]


@no_unclosed_warning
async def test_who_is_vouched_for_by_nobody_is_not_spoken_to(url: str) -> None:
    with refused("not trusted: unable to get local issuer"):
        async with connect(url):
            pass


async def test_whom_the_system_trusts_is_trusted(
    url: str, tls: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", tls.authority)
    async with connect(url) as client:
        assert await client.counts() is not None


@no_unclosed_warning
async def test_a_certificate_is_for_its_host_alone(url: str, tls: Certificates) -> None:
    with refused("Hostname mismatch"):
        async with connect(url.replace("127.0.0.1", "localhost"), tls=tls.trusting):
            pass


async def test_a_program_without_a_loop_does_so_too(url: str, tls: Certificates) -> None:
    def run() -> str:
        with sync.connect(url, tls=tls.trusting) as client:
            return client.create("t").id

    assert await asyncio.to_thread(run)


@no_unclosed_warning
async def test_who_speaks_no_tls_is_named(store_url: str, prefix: str, tls: Certificates) -> None:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        plain = broker.addresses[0].replace("tcp:", "tls:")
        with refused(r"TLS: |broken|reset"):
            async with connect(plain, tls=tls.trusting):
                pass
