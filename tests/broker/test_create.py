import re

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import Create, Get, Info, NewJob
from tests.support.brokers import Brokers

MADE_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")


async def test_a_job_is_created_and_shown(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "creator")
    new = NewJob(
        type="thumb",
        payload=b"\x00\xff",
        key="tenant",
        headers={"content-type": "x"},
        attempts=3,
        persistent=True,
    )
    [created] = await wire.ask(Create, jobs=(new,), handle=True)
    assert MADE_ID.fullmatch(created.job)
    assert (created.state, created.existed) == ("QUEUED", False)
    [view] = await wire.ask(Get, jobs=(created.job,))
    assert (view.type, view.payload, view.key, view.headers) == (
        new.type,
        new.payload,
        new.key,
        new.headers,
    )
