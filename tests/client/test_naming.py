"""Errors name what the caller wrote, not where it stands in a message."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from packhorse import InvalidValue, Keep, Malformed
from packhorse.client import Client
from packhorse.naming import as_written
from packhorse_broker.local import LocalBroker

Asked: TypeAlias = Callable[[Client], Awaitable[Any]]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Create.jobs[0].attempts: must be 1", "attempts: must be 1"),
        ("Create.jobs[12].id: no", "job_id: no"),
        ("Create.jobs[0].delay_ms: no", "delay: no"),
        ("Create.jobs[0].timeouts.run_ms: no", "run_timeout: no"),
        ("Create.jobs[0].labels[3]: no", "labels: no"),
        ("Create.jobs[0].headers['a: b']: no", "headers['a: b']: no"),
        ("Create.jobs[0].headers['it\\'s \"x\"']: no", "headers['it\\'s \"x\"']: no"),
        ("Create.jobs[0].headers['aaa'...]: no", "headers['aaa'...]: no"),
        ("Create.jobs[0]: no", "job_id: no"),
        ("Create.group: no", "group: no"),
        ("GetSchema.types[0]: no", "job_type: no"),
        ("Publish.schemas[0].schema: no", "schema: no"),
        ("Hello.client: no", "client_id: no"),
        ("Hello.roles[0]: no", "roles: no"),
        ("jobs[3].keep_ms: no", "keep: no"),
        ("types[0].keep_failed.keep_jobs: no", "failed: no"),
        ("cursor: no", "cursor: no"),
        (
            "Create holds a text that UTF-8 can't express: surrogates",
            "there is a text that UTF-8 can't express: surrogates",
        ),
        ("a frame of 9 bytes, at most 8", "a frame of 9 bytes, at most 8"),
        ("the type is named before in this request", "the type is named before in this request"),
        ("", ""),
    ],
)
def test_a_path_becomes_an_argument(said: str, written: str) -> None:
    assert as_written(said) == written


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda client: client.create("t", attempts=0), "attempts"),
        (lambda client: client.create("t", job_id="a" * 129), "job_id"),
        (lambda client: client.create("t", unique=""), "unique"),
        (lambda client: client.create("t", headers={"a": "b" * 2_000}), "headers['a']"),
        (lambda client: client.create("t", delay_until=10**18), "delay_until"),
        (lambda client: client.create(""), "job_type"),
        (lambda client: client.create("t", group=""), "group"),
        (lambda client: client.get(""), "job_id"),
        (lambda client: client.cancel("a", why="w" * 2_000), "why"),
        (lambda client: client.schema(""), "job_type"),
        (lambda client: client.pause("t", until=10**18), "until"),
        (lambda client: client.set_limits("t", max_jobs=10**20), "max_jobs"),
        (lambda client: client.set_retention("t", failed=Keep(jobs=10**20)), "failed"),
        (lambda client: client.page(limit=0), "limit"),
        (lambda client: client.page(label=""), "label"),
        (lambda client: client.job("a").retry(attempts=0), "attempts"),
    ],
)
async def test_what_the_client_refuses(broker: LocalBroker, ask: Asked, named: str) -> None:
    async with broker.connect() as client:
        with pytest.raises(InvalidValue) as raised:
            await ask(client)
    assert str(raised.value).startswith(f"{named}: must be ")


async def test_what_the_broker_refuses(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        with pytest.raises(Malformed, match=r"^unique_key: .* \[malformed\]$") as raised:
            await client.page(unique_key="k")
    assert raised.value.details["path"] == "unique_key"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a", "secret": b"short"}, "secret"),
        ({"roles": ["king"]}, "roles"),
    ],
)
async def test_who_the_client_can_not_be(
    broker: LocalBroker, options: dict[str, Any], named: str
) -> None:
    """It is raised, and not waited for: no broker would ever welcome such a client."""
    with pytest.raises(InvalidValue, match=f"^{named}: must be "):
        async with broker.connect(**options):
            pass
