"""Where jobs live, and asking each partition about its own."""

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.homes import Homes
from packhorse_protocol.ids import unique_tag

counts: Final = st.integers(1, 20)
texts: Final = st.text(st.characters(codec="utf-8", exclude_characters="~"), max_size=20)


def test_jobs_stay_where_they_were_found_before() -> None:
    """Changing any of these would lose the jobs of every store that there is."""
    homes = Homes(16)
    assert [homes.of(name) for name in ("", "a", "job-1", "ä", "x~job-1", "~")] == [
        0,
        3,
        15,
        3,
        15,
        0,
    ]
    assert unique_tag("invoice", "customer-7") == "10162034"
    assert homes.of("9qtz4mka1d7rw2he~10162034") == 9


@given(counts, texts, texts, texts)
def test_ids_with_one_end_are_together(count: int, tag: str, one: str, two: str) -> None:
    homes = Homes(count)
    home = homes.of(tag)
    assert home in range(count)
    assert homes.of(f"{one}~{tag}") == homes.of(f"{one}~{two}~{tag}") == home


@given(counts, texts, texts, texts)
def test_a_job_whose_id_has_the_tag_of_its_key_fits(
    count: int, start: str, job_type: str, unique_key: str
) -> None:
    homes = Homes(count)
    assert homes.fits(f"{start}~{unique_tag(job_type, unique_key)}", job_type, unique_key)
    fits = homes.fits(start, job_type, unique_key)
    assert fits == (homes.of(start) == homes.of(unique_tag(job_type, unique_key)))


def test_every_partition_has_its_share() -> None:
    homes = Homes(16)
    sizes = [len(places) for places in homes.split([f"job-{n}" for n in range(16_000)]).values()]
    assert len(sizes) == 16
    assert min(sizes) > 800
    assert max(sizes) < 1_200


@given(counts, st.lists(texts, max_size=30))
def test_each_id_is_asked_about_at_home_and_answered_in_its_place(
    count: int, ids: list[str]
) -> None:
    homes = Homes(count)
    asked: list[int] = []

    async def ask(home: int, own: Sequence[str]) -> list[str]:
        asked.append(home)
        assert {homes.of(job_id) for job_id in own} == {home}
        await asyncio.sleep(0)
        return [f"{job_id} at {home}" for job_id in own]

    answers = asyncio.run(homes.ask(ids, ask))
    assert answers == [f"{job_id} at {homes.of(job_id)}" for job_id in ids]
    assert len(asked) == len(set(asked))


async def test_one_partition_that_does_not_answer_leaves_no_answer() -> None:
    homes = Homes(3)

    async def ask(home: int, own: Sequence[str]) -> list[str]:
        if home == 1:
            raise StoreUnavailable("away")
        return list(own)

    ids = [f"job-{n}" for n in range(20)]
    at_home = [job_id for job_id in ids if homes.of(job_id) != 1]
    assert await homes.ask(at_home, ask) == at_home
    with pytest.raises(StoreUnavailable):
        await homes.ask(ids, ask)
