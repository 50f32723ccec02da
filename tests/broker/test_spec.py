"""What SPEC.md says by hand of requests and bounds is what this broker does."""

import re
from typing import Final

from packhorse_broker import contents, delivery, reception
from packhorse_broker.config import FRAME_OVERHEAD_BYTES
from packhorse_broker.dispatch import REFUSED_WHILE_DRAINING, ROLE_OF
from packhorse_broker.jobs.byhand import MAX_ATTEMPTS
from packhorse_broker.jobs.handlers import MAX_HANDLERS
from packhorse_protocol.messages import CLIENT_MESSAGES, ROLES
from tests.protocol.vectors import PROTOCOL

SPEC: Final = (PROTOCOL / "SPEC.md").read_text()
TAGS: Final = {record: tag for tag, record in CLIENT_MESSAGES.items()}


def section(number: int) -> str:
    found = re.search(rf"^## {number}\. .*?(?=^## )", SPEC, re.M | re.S)
    assert found is not None
    return found[0]


def sentences(number: int) -> str:
    """Without its line breaks."""
    return " ".join(section(number).split())


def test_requests_need_the_roles_that_are_told() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section(7), re.M))
    for role in ROLES:
        # After the semicolon stands what needs a second role.
        told = re.findall(r"`(\w+)`", rows[role].partition(";")[0])
        assert set(told) == {TAGS[record] for record, needed in ROLE_OF.items() if needed == role}


def test_what_is_refused_while_it_drains() -> None:
    told = re.search(r"refuses (.*?)\s+with `draining`", section(16), re.S)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == {TAGS[kind] for kind in REFUSED_WHILE_DRAINING}


def test_bounds_that_are_told() -> None:
    words = {3: "three"}
    assert f"at least {words[reception.HEARTBEATS]} times `heartbeat_ms`" in sentences(8)
    assert f"`result_bytes` + {FRAME_OVERHEAD_BYTES}" in sentences(7)
    assert f"at most {MAX_HANDLERS} handlers" in sentences(11)
    assert f"{delivery.WINDOW:,}" in sentences(11)
    assert f"has had {MAX_ATTEMPTS} attempts" in sentences(14)
    assert f"no more than {contents.MAX_ERROR_BYTES // 1024} KiB" in sentences(10)
    assert f"{reception.SECRET_BYTES} random bytes" in sentences(7)
    assert reception.FEATURES == ()
    assert "None is defined in 1.0" in sentences(19)
