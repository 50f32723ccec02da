"""Addresses that a supervisor holds for its processes, and nobody else can have meanwhile."""

import contextlib
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from packhorse_broker.addresses import ListenError
from packhorse_broker.shared_addresses import SharedAddresses


@pytest.fixture
def place() -> Iterator[Path]:
    """For a socket: not pytest's own folder, whose path may be too long for one."""
    with tempfile.TemporaryDirectory(prefix="ph-shared-") as folder:
        yield Path(folder) / "broker.sock"


def listener(address: str, *, share: bool) -> socket.socket:
    """As a broker listens: one of several processes, or one alone."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    return socket.create_server((parts.hostname, parts.port or 0), reuse_port=share)


@contextlib.contextmanager
def used_before() -> Iterator[str]:
    """An address whose port connections of a listener that is gone still keep."""
    with listener("tcp://127.0.0.1:0", share=False) as former:
        address = "tcp://{}:{}".format(*former.getsockname())
        client = socket.create_connection(former.getsockname())
        served, _ = former.accept()
        served.close()
    with client:
        yield address


def test_processes_share_a_port_that_nobody_else_gets() -> None:
    with closing(SharedAddresses.reserve(["tcp://127.0.0.1:0"])) as shared:
        [address] = shared.listen
        with pytest.raises(OSError, match="in use"):
            listener(address, share=False)
        with pytest.raises(ListenError, match="in use"):
            SharedAddresses.reserve([address])
        with listener(address, share=True), listener(address, share=True):
            with pytest.raises(OSError, match="in use"):
                listener(address, share=False)
            with pytest.raises(ListenError, match="in use"):
                SharedAddresses.reserve([address])
    with listener(address, share=False):
        pass


def test_a_port_with_old_connections_is_had_and_held() -> None:
    with used_before() as address, closing(SharedAddresses.reserve([address])) as shared:
        assert shared.listen == [address]
        with pytest.raises(ListenError, match="in use"):
            SharedAddresses.reserve([address])
        with listener(address, share=True), pytest.raises(ListenError, match="in use"):
            SharedAddresses.reserve([address])


def test_nothing_is_held_after_an_address_that_can_not_be_had(place: Path) -> None:
    with listener("tcp://127.0.0.1:0", share=False) as other:
        taken = "tcp://{}:{}".format(*other.getsockname())
        with pytest.raises(ListenError, match=taken):
            SharedAddresses.reserve([f"unix://{place}", taken])
    assert not place.exists()


def test_a_name_is_resolved_once() -> None:
    with closing(SharedAddresses.reserve(["tcp://localhost:0"])) as shared:
        assert shared.listen
        for address in shared.listen:
            assert urlsplit(address).hostname in ("127.0.0.1", "::1")
            assert urlsplit(address).port


def test_a_unix_socket_is_its_owners_and_goes_at_the_end(place: Path) -> None:
    with closing(SharedAddresses.reserve([f"unix://{place}"])) as shared:
        assert list(shared.sockets) == [str(place)]
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        shared.stop_listening()
        assert not shared.sockets
    assert not place.exists()


def test_a_file_that_is_no_socket_is_left_alone(place: Path) -> None:
    place.write_text("mine")
    with pytest.raises(ListenError, match="no socket"):
        SharedAddresses.reserve([f"unix://{place}"])
    assert place.read_text() == "mine"
