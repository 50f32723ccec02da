"""What a scenario for brokers is given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from packhorse_conformance.address import Address
from packhorse_conformance.trace import Trace


class Site:
    def __init__(self, address: Address, trace: Trace) -> None:
        self.trace = trace


@asynccontextmanager
async def sited(address: Address) -> AsyncIterator[Site]:
    yield Site(address, Trace())
