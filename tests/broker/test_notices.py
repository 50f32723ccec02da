"""What brokers tell each other, as bytes: also between versions that know more or fewer fields."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from packhorse_broker.jobs.model import CancelRequest, Course, End, Job, State
from packhorse_broker.notices import Notice, Notices
from packhorse_broker.store.changes import Change, EndedClaim
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.subscription import Channel
from tests.support.log_lines import LogLines

TOKEN = bytes(16)
ADDRESS = StoreAddress(url="redis://127.0.0.1:1", timeout_ms=1, client_name="never connected")
KEYS = PartitionKeys("p", 0)


class Ears:
    """One broker's notices, with another broker on the store. Nothing is sent."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.notices = Notices(
            "here",
            [Channel(ADDRESS, KEYS.events, KEYS.writer("w"))],
            heard=self.heard.append,
            missed=lambda: None,
            earliest=lambda changes: 1_000 * len(changes),
            keeps=lambda job_type, _: job_type == "kept",
            has_room=lambda group: group == "manned",
        )
        self.notices.peers = 1

    def hear(self, *fields: object) -> None:
        self.notices._receive(msgpack.packb(fields))

    def told(self, changes: Sequence[Change]) -> Notice:
        """What another broker would hear of changes here."""
        data = self.notices.of_changes(changes)
        assert data is not None
        there = Ears()
        there.notices.broker = "there"
        there.notices._receive(data)
        [notice] = there.heard
        return notice


@pytest.fixture
def ears() -> Ears:
    return Ears()


def job(state: State, **fields: Any) -> Job:
    held: dict[str, Any] = {"runner": "r", "token": TOKEN} if state is State.STARTED else {}
    given: dict[str, Any] = {
        "id": "j",
        "type": "t",
        "state": state,
        "version": 2,
        "order": 1,
        "body": b"",
    }
    return Job(**{**given, **held, **fields})


def test_a_notice_of_a_broker_that_knows_less_is_understood(ears: Ears) -> None:
    revoked = [["r", "j", TOKEN]]
    ears.hear("old", ["t"], ["c"], ["j"], revoked, ["m"])
    assert ears.heard == [Notice("old", ("t",), ("c",), ("j",), (("r", "j", TOKEN),), ("m",))]
    assert list(ears.heard[0].revocations()) == [("r", "j", TOKEN, "removed")]


def test_a_notice_of_a_broker_that_knows_more_is_understood(ears: Ears) -> None:
    revoked = [["r", "j", TOKEN], ["s", "k", TOKEN]]
    fields = [[], 7, ["t"], ["g"], ["timeout", "some new reason"], [["c", "j", 3]], "new", 1]
    ears.hear("new", [], [], [], revoked, [], *fields)
    [notice] = ears.heard
    assert (notice.due, notice.types, notice.owed_groups) == (7, ("t",), ("g",))
    assert notice.dropped == (("c", "j", 3),)
    reasons = [reason for *_, reason in notice.revocations()]
    assert reasons == ["timeout", "removed"]


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("x",),
        ("x", 1, 2, 3, 4, 5),
        ("x", [], [], [], [["one"]], []),
        ("x", [], [], [], [], [], [["r", "j"]]),
        ("x", [], [], [], [], [], [], "soon"),
        ("x", [], [], [], [], [], [], 0, 5),
    ],
)
def test_what_is_no_notice_is_passed_over(ears: Ears, fields: tuple[object, ...]) -> None:
    ears.hear(*fields)
    ears.notices._receive(msgpack.packb(fields)[:-1])
    assert ears.heard == []


def test_ones_own_are_not_heard(ears: Ears) -> None:
    ears.hear("here", [], [], [], [], [])
    assert ears.heard == []


def test_nothing_is_said_where_nobody_hears_it(ears: Ears) -> None:
    ears.notices.peers = 0
    assert ears.notices.of_changes([Change(None, job(State.QUEUED))]) is None


def test_what_a_change_is_about(ears: Ears) -> None:
    started = job(State.STARTED)
    request = CancelRequest("c", 1, 2)
    cancelled = job(State.STARTED, course=Course(cancel=request))
    ended = job(State.FAILED, end=End.TIMED_OUT, handlers=("h",))
    grouped = job(State.COMPLETE, course=Course(groups=("manned", "away")))
    notice = ears.told(
        [
            Change(None, job(State.QUEUED)),
            Change(started, cancelled),
            Change(started, ended, ended_claims=(EndedClaim("r", TOKEN, "timeout"),)),
            Change(started, grouped, ended_claims=(EndedClaim("r", TOKEN, None),)),
        ]
    )
    assert notice == Notice(
        "here",
        queued=("t",),
        owed=("h",),
        changed=("j",) * 4,
        revoked=(("r", "j", TOKEN),),
        cancelled=(("r", "j", TOKEN),),
        due=4_000,
        owed_groups=("away",),
        reasons=("timeout",),
    )


def test_a_request_to_cancel_is_told_once(ears: Ears) -> None:
    request, sooner = CancelRequest("c", 1, 9), CancelRequest("c", 1, 5)
    held = [job(State.STARTED, course=Course(cancel=one)) for one in (request, sooner)]
    assert ears.told([Change(held[0], held[0])]).cancelled == ()
    assert ears.told([Change(held[0], held[1])]).cancelled == (("r", "j", TOKEN),)
    # A claim that was granted and cancelled in one batch, and one whose job is gone.
    assert ears.told([Change(job(State.QUEUED), held[0])]).cancelled == (("r", "j", TOKEN),)
    assert ears.told([Change(held[0], held[1], removed=True)]).cancelled == ()


async def test_a_lost_subscription_is_said_once_until_there_is_another(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packhorse_broker.notices.RECONNECT_S", 0)
    lines, tries, tried = LogLines(), iter("aabbxcx"), asyncio.Event()

    @asynccontextmanager
    async def listen(_: Channel) -> AsyncIterator[AsyncIterator[bytes]]:
        name = next(tries, "")
        if not name:
            tried.set()
            await asyncio.Event().wait()
        if name != "x":
            raise StoreUnavailable(name)

        async def nothing(*data: bytes) -> AsyncIterator[bytes]:
            for some in data:
                yield some

        yield nothing()

    monkeypatch.setattr(Channel, "listen", listen)
    listening = asyncio.create_task(ears.notices.run())
    await tried.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert (await lines.of("notices.lost"))["error"] == "a"
    assert (await lines.of("notices.lost"))["error"] == "c"
    assert lines._lines.empty()
