"""Ends of ids, as SPEC.md defines them."""

import re
from pathlib import Path

import pytest

import packhorse_protocol
from packhorse_protocol.ids import tag_of, unique_tag


@pytest.mark.parametrize(
    ("job_id", "tag"),
    [("abc", "abc"), ("abc~1", "1"), ("a~b~c", "c"), ("~", ""), ("a~", ""), ("~a", "a")],
)
def test_the_tag_is_what_stands_behind_the_last_tilde(job_id: str, tag: str) -> None:
    assert tag_of(job_id) == tag


@pytest.mark.parametrize(
    ("job_type", "unique_key", "tag"),
    [
        ("invoice", "customer-7", "10162034"),
        ("t", "k", "76d9a14e"),
        ("größe", "🐎", "975fb1d0"),
        # Four digits less than the others, were they not filled up.
        ("t", "53794", "0000c1e5"),
    ],
)
def test_a_unique_key_has_a_tag(job_type: str, unique_key: str, tag: str) -> None:
    assert unique_tag(job_type, unique_key) == tag


def test_the_specification_has_an_example() -> None:
    spec = Path(packhorse_protocol.__path__[0]).parent / "SPEC.md"
    found = re.findall(r"~([0-9a-f]{8})`", spec.read_text())
    assert found == [unique_tag("invoice", "customer-7")]
