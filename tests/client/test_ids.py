import re

from packhorse.ids import new_job_id


def test_ids_are_crockford_base32_in_lower_case() -> None:
    for _ in range(100):
        assert re.fullmatch("[0-9a-hjkmnp-tv-z]{16}", new_job_id())


def test_ids_differ() -> None:
    assert len({new_job_id() for _ in range(10_000)}) == 10_000


def test_all_characters_are_used() -> None:
    used = set("".join(new_job_id() for _ in range(1_000)))
    assert used == set("0123456789abcdefghjkmnpqrstvwxyz")
