"""Where a broker listens, and what stands in its way."""

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from packhorse_broker.addresses import ListenError
from packhorse_protocol.messages import Info
from tests.support.brokers import Brokers
from tests.support.requests import create, get
from tests.support.wire import Wire


@pytest.fixture
def place() -> Iterator[Path]:
    """For a socket: not pytest's own folder, whose path may be too long for one."""
    with tempfile.TemporaryDirectory(prefix="ph-listen-") as folder:
        yield Path(folder) / "broker.sock"


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def file(place: Path) -> Path:
    """Something that is no socket, where one is to be."""
    place.write_text("mine")
    return place


async def test_several_addresses_are_one_broker(brokers: Brokers, place: Path) -> None:
    broker = await brokers.start(listen=("tcp://127.0.0.1:0", f"unix://{place}"))
    assert len(broker.addresses) == 2
    tcp, unix = [brokers.keep(await Wire.open(address)) for address in broker.addresses]
    await create(tcp, "a")
    assert (await get(unix, "a")).state == "QUEUED"
    [info] = await unix.ask(Info)
    assert (info.connections, info.clients) == (2, 2)


async def test_only_its_owner_may_use_a_socket(brokers: Brokers, place: Path) -> None:
    await brokers.start(listen=(f"unix://{place}",))
    assert permissions(place) == 0o600


async def test_a_socket_that_was_left_behind_is_replaced(brokers: Brokers, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    broker = await brokers.start(listen=(f"unix://{place}",))
    assert await (brokers.keep(await Wire.open(broker.addresses[0]))).ask(Info)


async def test_a_socket_at_which_another_answers_is_left_alone(
    brokers: Brokers, place: Path
) -> None:
    holder = await brokers.start(listen=(f"unix://{place}",))
    with pytest.raises(ListenError, match="another broker") as refused:
        await brokers.start(listen=(f"unix://{place}",))
    assert str(place) in str(refused.value)
    assert await (brokers.keep(await Wire.open(holder.addresses[0]))).ask(Info)


async def test_a_file_that_is_no_socket_is_left_alone(brokers: Brokers, file: Path) -> None:
    with pytest.raises(ListenError, match="no socket"):
        await brokers.start(listen=(f"unix://{file}",))
    unchanged(file)


def unchanged(file: Path) -> None:
    assert file.read_text() == "mine"


async def test_a_socket_in_no_folder_is_named(brokers: Brokers, place: Path) -> None:
    with pytest.raises(ListenError, match=r"missing/broker\.sock"):
        await brokers.start(listen=(f"unix://{place.parent}/missing/broker.sock",))


async def test_a_taken_port_is_named(brokers: Brokers) -> None:
    holder = await brokers.start()
    [address] = holder.addresses
    with pytest.raises(ListenError, match="--listen") as refused:
        await brokers.start(listen=(address,))
    assert address in str(refused.value)
    assert await (await brokers.connect(holder)).ask(Info)


async def test_where_one_address_is_taken_none_is_kept(brokers: Brokers) -> None:
    holder = await brokers.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = brokers.make(listen=(f"tcp://127.0.0.1:{port}", holder.addresses[0]))
    with pytest.raises(ListenError):
        await other.start()
    await brokers.stop(other)
    with pytest.raises(OSError):
        await Wire.dial(f"tcp://127.0.0.1:{port}")
