"""Reading the URL of a store: Sentinels in it, and its parameters."""

import pytest

from packhorse_broker.store_url import WrongParameter, check_store_url, read_sentinels


def test_all_that_it_may_say() -> None:
    url = (
        "sentinels://me:p%40ss@one,two:26380,[::1]:7/jobs%20x/3"
        "?sentinel_username=su&sentinel_password=sp&ssl_ca_certs=/ca.pem"
    )
    read = read_sentinels(url)
    assert read is not None
    assert read.sentinels == (("one", 26379), ("two", 26380), ("::1", 7))
    assert (read.service, read.database, read.tls) == ("jobs x", 3, True)
    assert (read.sentinel_user, read.sentinel_password) == ("su", "sp")
    assert read.of_primary("10.0.0.5", 6379) == (
        "rediss://me:p%40ss@10.0.0.5:6379/3?ssl_ca_certs=%2Fca.pem"
    )
    assert read.of_sentinel("one", 26379) == "rediss://su:sp@one:26379/0?ssl_ca_certs=%2Fca.pem"
    assert read.of_primary("::2", 6379).startswith("rediss://me:p%40ss@[::2]:6379/3")
    assert "sp" not in repr(read)
    assert "p%40ss" not in repr(read)


def test_the_least_that_it_has_to_say() -> None:
    read = read_sentinels("sentinel://h/jobs")
    assert read is not None
    assert (read.sentinels, read.service, read.database) == ((("h", 26379),), "jobs", 0)
    assert read.of_primary("h", 1) == "redis://h:1/0"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://h", "unix:///run/store.sock"])
def test_what_names_no_sentinels(url: str) -> None:
    assert read_sentinels(url) is None
    check_store_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_certfile=/c&ssl_keyfile=/k&ssl_password=p",
        "clusters://h,i?ssl_cert_reqs=none",
        "sentinels://h/jobs?sentinel_password=p&ssl_check_hostname=false",
        "redis://h?db=3&password=p",
        "unix:///run/store.sock?db=3&password=p",
    ],
)
def test_parameters_that_it_may_have(url: str) -> None:
    check_store_url(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/0?ssl_ca_certs=/ca.pem", "only rediss, sentinels, clusters"),
        ("cluster://h?ssl_ca_certs=/ca.pem", "only rediss, sentinels, clusters"),
        ("unix:///s?ssl_ca_certs=/ca.pem", "only rediss, sentinels, clusters"),
        ("redis://h/0?sentinel_password=p", "behind the . may be db, "),
        ("redis://u:pass?hush@h/0", "behind the . may be db, "),
        ("rediss://h?protocol=3", "behind the . may be db, "),
    ],
)
def test_parameters_that_it_may_not_have_are_not_quoted(url: str, said: str) -> None:
    with pytest.raises(WrongParameter, match=said) as refused:
        check_store_url(url)
    assert "hush" not in str(refused.value)
