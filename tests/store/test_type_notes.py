"""What is remembered of types is bounded by those in use."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.store.type_notes import MAX_UNUSED, TypeNotes


def test_types_that_are_gone_are_forgotten() -> None:
    in_use = {"mail", "post"}
    notes = TypeNotes(list[str], in_use.__contains__)
    for job_type in (*in_use, *(f"gone-{number}" for number in range(10 * MAX_UNUSED))):
        notes[job_type].append(job_type)
        assert notes[job_type] == [job_type]
        assert len(notes) <= MAX_UNUSED + 2 * len(in_use)
    assert all(notes[job_type] == [job_type] for job_type in in_use)


@given(st.integers(0, 3 * MAX_UNUSED), st.integers(0, 3 * MAX_UNUSED))
def test_what_is_in_use_is_kept_however_much_it_is(used: int, gone: int) -> None:
    """And is not gone through for each type that comes in."""
    asked = count()
    looks = 0

    def in_use(job_type: str) -> bool:
        nonlocal looks
        looks = next(asked)
        return job_type.startswith("used")

    notes = TypeNotes(list[str], in_use)
    for number in range(max(used, gone)):
        for job_type, many in (("used", used), ("gone", gone)):
            if number < many:
                notes[f"{job_type}-{number}"].append("noted")
    kept = [job_type for job_type in notes if job_type.startswith("used")]
    assert len(kept) == used
    assert len(notes) <= MAX_UNUSED + 2 * used
    assert looks <= 3 * (used + gone)
