"""Commands about the broker as a whole: `counts`, `info`."""

from collections.abc import Sequence

import click

from packhorse.cli import output
from packhorse.cli.options import client_options, json_option, with_client
from packhorse.client import Client
from packhorse.filters import STATES


@click.command()
@click.argument("job_types", metavar="[TYPE]...", nargs=-1)
@json_option
@client_options
def counts(job_types: Sequence[str], as_json: bool) -> None:
    """Count jobs by type and state.

    \b
    packhorse counts
    packhorse counts thumb mail --json
    """

    async def work(client: Client) -> None:
        found = await client.counts(*job_types)
        rows: list[tuple[str, ...]] = [("TYPE", *STATES)]
        for job_type, by_state in sorted(found.types.items()):
            if as_json:
                output.write_json({"type": job_type, **output.as_json(by_state)})
            rows.append((job_type, *(str(by_state.get(state, 0)) for state in STATES)))
        if not as_json:
            output.write_rows(rows)
        if found.more:
            output.tell("there are more types: name those that you want")

    with_client(work)


@click.command()
@json_option
@client_options
def info(as_json: bool) -> None:
    """Show the broker: version, store, clients.

    \b
    packhorse info
    packhorse info --url unix:///run/packhorse.sock --json
    """

    async def work(client: Client) -> None:
        found = await client.info()
        if as_json:
            output.write_json(found)
        else:
            output.write_pairs(
                {
                    "broker": f"{found.broker}  ({found.library})",
                    "store": f"{found.store}  (schema {found.schema})",
                    "started": output.time_text(found.started_ms),
                    "clock": output.time_text(found.now_ms),
                    "connections": found.connections,
                    "clients": found.clients,
                    "kept": found.kept,
                    "durability": found.durability,
                    "partitions": found.partitions,
                    "full": "no more jobs are created" if found.store_full else None,
                }
            )

    with_client(work)
