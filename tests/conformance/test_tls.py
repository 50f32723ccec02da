"""The kit tests brokers behind what speaks TLS, and only those that it can trust."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from packhorse_conformance import broker_scenarios
from packhorse_conformance.address import TcpAddress, parse
from packhorse_conformance.cli import main
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from tests.conformance.playing import assert_all_passed, played
from tests.support.terminator import Streams, terminated
from tests.support.tls import OPENSSL, Certificates

pytestmark = pytest.mark.skipif(shutil.which(OPENSSL) is None, reason="openssl is not installed")

SOME: list[Scenario[Site]] = chosen(
    scenarios_in(broker_scenarios), ["handshake.*", "frames.*", "flow.*"]
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def url(address: TcpAddress, tls: Certificates) -> AsyncIterator[str]:
    async def inner() -> Streams:
        return await asyncio.open_connection(address.host, address.port)

    async with terminated(inner, tls.serving) as url:
        yield url


async def test_our_broker_conforms_behind_a_terminator(url: str, tls: Certificates) -> None:
    assert_all_passed(await played(SOME, partial(sited, parse(url, tls.authority))))


async def test_a_broker_that_is_not_trusted_is_told(url: str, tmp_path: Path) -> None:
    other = Certificates(tmp_path).authority
    arguments = ["broker", "--only", "handshake.welcomes", "--url", url]
    told = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--ca-file", other])
    assert told.exit_code == 2
    assert "is not trusted" in told.output
