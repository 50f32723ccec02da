"""What the settings of a type allow: claims, creates, how much it may hold, how long it is kept."""

from typing import Any

import pytest

from packhorse_broker.jobs.commands import Complete, Create, Fail, OnDuplicate, Remove
from packhorse_broker.jobs.model import Applied, Refusal, RefusalCode
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.types import TypeSettings, encode_settings
from packhorse_broker.store.work import Result
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    return opener.committer()


@pytest.fixture
def put(raw: Raw, keys: PartitionKeys) -> Any:
    async def put(settings: TypeSettings, job_type: str = "mail") -> None:
        await raw("SET", keys.settings(job_type), encode_settings(settings))

    return put


def code(result: Result) -> RefusalCode | None:
    return result.code if isinstance(result, Refusal) else None


async def test_paused_type_gives_out_nothing(caller: Caller, put: Any, opener: Opener) -> None:
    await caller.submit(create("a"), create("b"), create("other", "post"))
    await put(TypeSettings(paused=True))
    assert await caller.draw("mail", [claim()]) == ([], False)
    assert code(await caller.ask("a", claim())) is RefusalCode.WRONG_STATE
    [drawn], _ = await caller.draw("post", [claim()])
    assert drawn.job.id == "other"
    await caller.applied(*create("c"))
    await put(TypeSettings(paused=True, paused_until=opener.clock.now_ms() + 100))
    assert await caller.draw("mail", [claim()]) == ([], False)
    opener.clock.forward(100)
    [drawn], _ = await caller.draw("mail", [claim()])
    assert drawn.job.id == "a"
    assert isinstance(await caller.ask("b", claim()), Applied)


async def test_draining_type_takes_no_new_jobs(caller: Caller, put: Any) -> None:
    command = Create("a", "mail", b"", "maker", fingerprint=b"f")
    await caller.applied("a", command)
    await put(TypeSettings(draining=True))
    assert code(await caller.ask(*create("b"))) is RefusalCode.TYPE_DRAINING
    assert not (await caller.applied("a", command)).changed
    [drawn], _ = await caller.draw("mail", [claim()])
    assert drawn.job.id == "a"
    assert isinstance(await caller.ask(*create("c", "post")), Applied)


async def test_type_holds_no_more_jobs_than_it_may(caller: Caller, put: Any) -> None:
    await put(TypeSettings(max_jobs=2))
    results = await caller.submit(create("a"), create("b", handler="bob"), create("c"))
    assert list(map(code, results)) == [None, None, RefusalCode.QUOTA]
    claimed = claim()
    await caller.applied("b", claimed)
    await caller.applied("b", Complete("ann", first_token(claimed), bytes(2_000)))
    assert code(await caller.ask(*create("c"))) is RefusalCode.QUOTA
    await caller.applied("b", Remove())
    assert code(await caller.ask(*create("c"))) is None


async def test_type_holds_no_more_bytes_than_it_may_and_jobs_end_in_spite_of_it(
    caller: Caller, put: Any
) -> None:
    await put(TypeSettings(max_bytes=1_000))
    results = await caller.submit(
        create("a", body=bytes(600)), create("b", body=bytes(600)), create("c", body=bytes(400))
    )
    assert list(map(code, results)) == [None, RefusalCode.QUOTA, None]
    claimed = claim()
    await caller.applied("a", claimed)
    done = await caller.applied("a", Complete("ann", first_token(claimed), bytes(2_000)))
    assert done.removed
    assert code(await caller.ask(*create("b", body=bytes(600)))) is None


async def test_retention_of_a_type(caller: Caller, put: Any, opener: Opener) -> None:
    await put(TypeSettings(keep_complete_ms=500, keep_failed_ms=0))
    asked = [claim(), claim()]
    await caller.submit(create("a"), create("b"), ("a", asked[0]), ("b", asked[1]))
    done = await caller.applied("a", Complete("ann", first_token(asked[0]), b""))
    assert (done.removed, done.job.expires_at) == (False, opener.clock.now_ms() + 500)
    failed = await caller.applied("b", Fail("ann", first_token(asked[1]), b""))
    assert failed.removed


async def test_settings_that_can_not_be_read_are_none(
    caller: Caller, raw: Raw, keys: PartitionKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    await raw("SET", keys.settings("mail"), "no settings")
    await caller.applied(*create("a"))
    [drawn], _ = await caller.draw("mail", [claim()])
    assert drawn.job.id == "a"


async def test_new_content_of_a_job_counts_as_well(caller: Caller, put: Any) -> None:
    await put(TypeSettings(max_bytes=1_000))
    terms = Terms(unique=Unique("k", Scope.UNTIL_FINISHED))
    await caller.applied(*create("a", body=bytes(400), terms=terms))
    results = [
        await caller.ask(
            *create("b", body=bytes(size), terms=terms, on_duplicate=OnDuplicate.REPLACE)
        )
        for size in (1_001, 900, 1_000, 10)
    ]
    assert list(map(code, results)) == [RefusalCode.QUOTA, None, None, None]
