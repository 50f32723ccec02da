"""The command line as a test runs it: what a command said, and with which status it ended."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from packhorse.cli import command as cli
from packhorse_broker.local import LocalBroker


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command came to."""

    status: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal:
    """Runs commands against one broker."""

    def __init__(self, broker: LocalBroker, capsys: pytest.CaptureFixture[str]) -> None:
        self.broker = broker
        self.url = broker.addresses[0]
        self._capsys = capsys

    async def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        status = await asyncio.to_thread(cli.run, [*arguments, "--url", self.url])
        out, err = self._capsys.readouterr()
        assert "\x1b" not in out + err
        return Said(status=status, out=out, err=err)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """A command that needs no broker."""
    status = cli.run(arguments)
    out, err = capsys.readouterr()
    return Said(status=status, out=out, err=err)
