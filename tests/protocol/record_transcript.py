"""Records a scenario into `protocol/transcripts`: `python -m tests.protocol.record_transcript 1.0`.

A session that is there is never recorded again: it is the client of that version, which later
brokers have to go on with. New messages come in a scenario of their own, which is appended.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from tests.protocol.cast import Cast
from tests.protocol.recording import Recorder
from tests.protocol.scenarios import SCENARIOS, SETTINGS
from tests.protocol.vectors import PROTOCOL
from tests.support.daemon import Daemons

TRANSCRIPTS: Final = PROTOCOL / "transcripts"
TRANSCRIPT: Final = TRANSCRIPTS / "version-1.json"


async def record(version: str) -> dict[str, Any]:
    """What passed between the clients and a broker of its own."""
    settings = [word for setting in SETTINGS.items() for word in setting]
    with tempfile.TemporaryDirectory() as folder:
        async with Daemons() as daemons:
            daemon = await daemons.start(*settings, "--data-dir", folder)
            recorder = Recorder(daemon.url)
            await recorder.start()

            async def end_broker() -> None:
                daemon.terminate()
                assert await daemon.wait() == 0

            try:
                await SCENARIOS[version](Cast(recorder, end_broker))
            finally:
                await recorder.close()
    return {"version": version, "settings": SETTINGS, "steps": recorder.steps}


def text_of(sessions: list[dict[str, Any]]) -> str:
    """A line for each step."""
    told = []
    for session in sessions:
        steps = ",\n".join(f"        {json.dumps(step)}" for step in session["steps"])
        head = {key: value for key, value in session.items() if key != "steps"}
        told.append(f'    {json.dumps(head)[:-1]}, "steps": [\n{steps}\n    ]}}')
    about = json.dumps("Sessions of clients of version 1, each as it was; see CONTRIBUTING.md.")
    return f'{{\n  "about": {about},\n  "sessions": [\n' + ",\n".join(told) + "\n  ]\n}\n"


def schema_of(version: str) -> Path:
    """The tables as they were when that version's session was recorded."""
    return TRANSCRIPTS / f"schema-{version}.json"


@click.command(help=__doc__)
@click.argument("version", type=click.Choice(list(SCENARIOS)))
def main(version: str) -> None:
    sessions = json.loads(TRANSCRIPT.read_text())["sessions"] if TRANSCRIPT.exists() else []
    if any(session["version"] == version for session in sessions):
        raise click.ClickException(f"{version} is recorded: it does not change any more")
    sessions.append(asyncio.run(record(version)))
    TRANSCRIPT.write_text(text_of(sessions))
    schema_of(version).write_bytes((PROTOCOL / "schema.json").read_bytes())


if __name__ == "__main__":
    main()
