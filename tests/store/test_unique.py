"""Unique keys: who holds one, what a second create does, and when it is free again."""

from typing import Final

import pytest

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Complete,
    Create,
    Fail,
    OnDuplicate,
    Release,
    Remove,
    Retry,
)
from packhorse_broker.jobs.model import Applied, Job, Refusal, RefusalCode
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.fsck import Checker
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.work import Result
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw, contents
from tests.support.opening import Caller, Opener

FINISHED: Final = Terms(unique=Unique("k", Scope.UNTIL_FINISHED))
STARTED: Final = Terms(unique=Unique("k", Scope.UNTIL_STARTED))
WINDOW: Final = Terms(unique=Unique("k", Scope.WINDOW, 60_000))
SCOPES: Final = pytest.mark.parametrize("terms", [FINISHED, STARTED, WINDOW])


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    return opener.committer()


def duplicate(result: Result, holder: str) -> bool:
    assert isinstance(result, Refusal), result
    return (result.code, result.job) == (RefusalCode.DUPLICATE, holder)


def made(result: Result) -> Job:
    assert isinstance(result, Applied), result
    return result.job


async def claimed(caller: Caller, name: str) -> bytes:
    asked = claim()
    await caller.applied(name, asked)
    return first_token(asked)


@SCOPES
async def test_second_create_is_told_who_holds_the_key(caller: Caller, terms: Terms) -> None:
    await caller.applied(*create("a", terms=terms))
    assert duplicate(await caller.ask(*create("b", terms=terms)), "a")
    assert made(await caller.ask(*create("c", "post", terms=terms))).id == "c"
    [again, other] = await caller.submit(create("b", terms=terms), create("b"))
    assert duplicate(again, "a")
    assert made(other).id == "b"


@SCOPES
async def test_of_two_creates_in_one_batch_the_first_holds_it(caller: Caller, terms: Terms) -> None:
    first, second = await caller.submit(create("a", terms=terms), create("b", terms=terms))
    assert made(first).id == "a"
    assert duplicate(second, "a")


async def test_repeated_create_of_the_holder_is_no_duplicate(caller: Caller) -> None:
    command = Create("a", "mail", b"body", "maker", fingerprint=b"f", terms=FINISHED)
    await caller.applied("a", command)
    assert not (await caller.applied("a", command)).changed


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_key_is_free_once_the_job_has_finished(caller: Caller, in_one_batch: bool) -> None:
    await caller.applied(*create("a", terms=FINISHED, handler="bob"))
    token = await claimed(caller, "a")
    assert duplicate(await caller.ask(*create("b", terms=FINISHED)), "a")
    end = ("a", Complete("ann", token, b""))
    if in_one_batch:
        _, free = await caller.submit(end, create("b", terms=FINISHED))
    else:
        await caller.submit(end)
        free = await caller.ask(*create("b", terms=FINISHED))
    assert made(free).id == "b"


@pytest.mark.parametrize("command", [Remove(), Cancel("boss")])
async def test_key_is_free_once_the_job_is_gone_or_cancelled(
    caller: Caller, command: Remove | Cancel
) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    _, free = await caller.submit(("a", command), create("b", terms=FINISHED))
    assert made(free).id == "b"


async def test_key_until_the_start_is_free_with_the_first_claim_and_not_taken_again(
    caller: Caller,
) -> None:
    await caller.applied(*create("a", terms=STARTED))
    asked = claim()
    _, free = await caller.submit(("a", asked), create("b", terms=STARTED))
    assert made(free).id == "b"
    await caller.applied("a", Release("ann", first_token(asked)))
    await caller.applied("b", Remove())
    assert made(await caller.ask(*create("c", terms=STARTED))).id == "c"


async def test_window_outlives_its_job_and_ends_by_itself(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await caller.applied(*create("a", terms=WINDOW))
    await caller.applied("a", Remove())
    refused = await caller.ask(*create("b", terms=WINDOW, on_duplicate=OnDuplicate.JOIN))
    assert duplicate(refused, "a")
    assert 0 < await raw("PTTL", keys.unique("mail", "k")) <= 60_000
    await raw("DEL", keys.unique("mail", "k"))
    assert made(await caller.ask(*create("b", terms=WINDOW))).id == "b"


@SCOPES
async def test_join_makes_the_creator_a_handler_of_the_holder(caller: Caller, terms: Terms) -> None:
    await caller.applied(*create("a", terms=terms))
    joining = create("b", terms=terms, group="mailers", on_duplicate=OnDuplicate.JOIN)
    job = made(await caller.ask(*joining))
    assert (job.id, job.handlers, job.groups) == ("a", ("maker",), ("mailers",))
    assert not (await caller.applied(*joining)).changed


@SCOPES
async def test_replace_gives_the_holder_the_new_content(
    caller: Caller, raw: Raw, keys: PartitionKeys, terms: Terms
) -> None:
    await caller.applied(*create("a", terms=terms, handler="bob", body=bytes(600)))
    replacing = create("b", body=b"new", terms=terms, on_duplicate=OnDuplicate.REPLACE)
    job = made(await caller.ask(*replacing))
    assert (job.id, job.body, job.handlers) == ("a", b"new", ("bob",))
    assert (await contents(raw, keys))["a"] == job


async def test_replace_comes_too_late_for_a_job_that_has_started(caller: Caller) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    await claimed(caller, "a")
    refused = await caller.ask(
        *create("b", body=b"new", terms=FINISHED, on_duplicate=OnDuplicate.REPLACE)
    )
    assert duplicate(refused, "a")


async def test_retried_job_needs_its_key_again(caller: Caller) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    token = await claimed(caller, "a")
    await caller.applied("a", Fail("ann", token, b"", retry=False))
    await caller.applied(*create("b", terms=FINISHED))
    assert duplicate(await caller.ask("a", Retry("boss")), "b")
    _, again = await caller.submit(("b", Remove()), ("a", Retry("boss")))
    assert made(again).id == "a"
    assert duplicate(await caller.ask(*create("c", terms=FINISHED)), "a")


async def test_two_brokers_create_one_job(opener: Opener) -> None:
    first, second = opener.committer(), opener.committer()
    for number in range(20):
        terms = Terms(unique=Unique(f"k{number}", Scope.UNTIL_FINISHED))
        asked = [
            caller.submit(create(f"{name}{number}", terms=terms))
            for caller, name in ((first, "a"), (second, "b"))
        ]
        results = [(await one)[0] for one in asked]
        assert sorted(type(result).__name__ for result in results) == ["Applied", "Refusal"]


async def test_hold_of_a_job_that_is_not_there_is_no_hold_and_is_mended(
    caller: Caller, raw: Raw, keys: PartitionKeys, opener: Opener
) -> None:
    key = keys.unique("mail", "k")
    await caller.applied(*create("a", terms=FINISHED))
    await raw("SET", key, "other")
    checker = Checker(opener.lane(), keys)
    found = {(finding.kind, finding.job) for finding in (await checker.check()).findings}
    assert found == {("missing", "a"), ("stale", "other")}
    await checker.check(mend=True)
    await checker.check(mend=True)
    assert await raw("GET", key) == b"a"
    assert (await checker.check()).clean


async def test_hold_that_the_record_does_not_have_is_no_hold(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await caller.applied(*create("a", terms=STARTED))
    await claimed(caller, "a")
    await raw("SET", keys.unique("mail", "k"), "a")
    assert made(await caller.ask(*create("b", terms=STARTED))).id == "b"


async def test_claim_of_a_job_by_its_id_and_a_create_in_one_batch(caller: Caller) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    results = await caller.submit(("a", Claim("ann", bytes(8))), create("b", terms=FINISHED))
    assert made(results[0]).id == "a"
    assert duplicate(results[1], "a")


async def test_job_that_never_started_needs_its_key_again_too(caller: Caller) -> None:
    await caller.applied(*create("a", terms=STARTED))
    await caller.submit(("a", Cancel("boss")), create("b", terms=STARTED))
    assert duplicate(await caller.ask("a", Retry("boss")), "b")
    await caller.applied("b", Remove())
    await caller.applied("a", Retry("boss"))
    assert duplicate(await caller.ask(*create("c", terms=STARTED)), "a")


@pytest.mark.parametrize("how", list(OnDuplicate))
async def test_window_whose_job_is_gone_has_nothing_to_do_with_another_job_of_that_id(
    caller: Caller, raw: Raw, keys: PartitionKeys, how: OnDuplicate
) -> None:
    await caller.applied(*create("a", terms=WINDOW))
    await caller.applied("a", Remove())
    await caller.applied(*create("a", "invoice", b"other", terms=FINISHED))
    asked = create("b", body=b"mine", terms=WINDOW, on_duplicate=how)
    assert duplicate(await caller.ask(*asked), "a")
    job = (await contents(raw, keys))["a"]
    assert (job.type, job.body, job.handlers) == ("invoice", b"other", ())
