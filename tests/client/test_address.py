import pytest

from packhorse.address import TcpAddress, UnixAddress, parse, resolve
from packhorse.errors import InvalidValue


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("tcp://broker.example:7000", TcpAddress(host="broker.example", port=7000)),
        ("tcp://broker.example", TcpAddress(host="broker.example", port=7225)),
        ("tls://broker.example:7000", TcpAddress(host="broker.example", port=7000, tls=True)),
        ("tls://[::1]", TcpAddress(host="::1", port=7225, tls=True)),
        ("tcp://broker.example/", TcpAddress(host="broker.example", port=7225)),
        ("broker.example", TcpAddress(host="broker.example", port=7225)),
        ("10.0.0.1:9", TcpAddress(host="10.0.0.1", port=9)),
        ("tcp://[::1]:7000", TcpAddress(host="::1", port=7000)),
        ("[::1]", TcpAddress(host="::1", port=7225)),
        ("unix:///run/packhorse.sock", UnixAddress(path="/run/packhorse.sock")),
    ],
)
def test_an_address_is_read(url: str, address: TcpAddress | UnixAddress) -> None:
    assert parse(url) == (address,)


def test_several_addresses_keep_their_order() -> None:
    assert parse("a:1, unix:///b ,c") == (
        TcpAddress(host="a", port=1),
        UnixAddress(path="/b"),
        TcpAddress(host="c"),
    )


@pytest.mark.parametrize(
    "address", [TcpAddress(host="::1", port=1), TcpAddress(host="h"), UnixAddress(path="/x")]
)
def test_what_is_printed_can_be_read(address: TcpAddress | UnixAddress) -> None:
    assert parse(str(address)) == (address,)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://broker", "unknown scheme 'http'"),
        ("unix://relative/path", "must be absolute"),
        ("tcp://:7225", "no host name"),
        ("tcp://user@host", "no host name"),
        ("", "no host name"),
        ("a,,b", "no host name"),
        ("host:0", "1 to 65535"),
        ("host:65536", "1 to 65535"),
        ("host:port", "1 to 65535"),
        ("::1", r"written \[address\]:port"),
        ("[::1", r"written \[address\]:port"),
        ("[::1]7225", r"written \[address\]:port"),
    ],
)
def test_what_is_no_address_is_named(url: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=why):
        parse(url)


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(InvalidValue, match="65 addresses, at most 64"):
        parse(",".join(["host"] * 65))


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKHORSE_URL", "from-environment")
    assert resolve("from-argument") == (TcpAddress(host="from-argument"),)
    assert resolve(None) == (TcpAddress(host="from-environment"),)


def test_without_either_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACKHORSE_URL", raising=False)
    assert resolve(None) == (TcpAddress(host="127.0.0.1", port=7225),)


def test_an_error_says_that_it_came_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKHORSE_URL", "http://x")
    with pytest.raises(InvalidValue, match=r"^PACKHORSE_URL: 'http://x'"):
        resolve(None)
