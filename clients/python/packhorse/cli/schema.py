"""`packhorse schema`: the JSON Schema of a type's arguments, and what it says of some."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from packhorse.cli import output
from packhorse.cli.options import client_options, with_client
from packhorse.cli.status import NOT_FOUND
from packhorse.client import Client
from packhorse.errors import Forbidden, Unsupported
from packhorse.payload import NOTHING
from packhorse.schemas import check_schema

INSTALL: Final = "pip install 'packhorse[cli]'"


@click.group()
def schema() -> None:
    """Show or store the JSON Schema of a type's arguments.

    \b
    packhorse schema get thumb
    packhorse schema put thumb thumb.json
    """


@schema.command("get")
@click.argument("job_type", metavar="TYPE")
@client_options
def get(job_type: str) -> int:
    """Print the schema. Exit status 3: there is none.

    \b
    packhorse schema get thumb
    packhorse schema get thumb > thumb.json
    """

    async def work(client: Client) -> int:
        found = await client.schema(job_type)
        if found is None:
            output.tell(f"error: type {job_type} has no schema")
            return NOT_FOUND
        output.write_json(found, indent=2)
        return 0

    return with_client(work)


@schema.command("put")
@click.argument("job_type", metavar="TYPE")
@click.argument("path", metavar="FILE")
@client_options
def put(job_type: str, path: str) -> None:
    """Store the schema from a file, - for standard input; `null` removes it.

    \b
    packhorse schema put thumb thumb.json
    echo null | packhorse schema put thumb -
    """
    found = _read(path)
    if found is not None:
        check_schema(found)

    async def work(client: Client) -> None:
        await client.publish_schema(job_type, found)

    with_client(work)


async def check_arguments(client: Client, job_type: str, arguments: object) -> None:
    """Raises a usage error for arguments that the type's schema does not allow.

    Where there is no schema, or this client may not read it, all are allowed.
    """
    try:
        found = await client.schema(job_type)
    except (Forbidden, Unsupported):
        return
    if found is None:
        return
    try:
        import jsonschema
        import referencing
        import referencing.exceptions
    except ImportError:
        output.tell(f"the arguments are not checked: {INSTALL}")
        return
    kind = jsonschema.validators.validator_for(found, jsonschema.Draft202012Validator)
    # An empty registry: a schema that somebody stored is to fetch nothing from elsewhere.
    validator = kind(found, registry=referencing.Registry())
    given: Any = {} if arguments is NOTHING else arguments
    try:
        worst = jsonschema.exceptions.best_match(validator.iter_errors(given))
    except (referencing.exceptions.Unresolvable, jsonschema.exceptions.SchemaError) as error:
        raise click.ClickException(f"the schema of {job_type} can't be used: {error}") from error
    if worst is not None:
        where = ".".join(map(str, worst.absolute_path))
        raise click.UsageError(f"{job_type}: {f'{where}: ' if where else ''}{worst.message}")


def _read(path: str) -> dict[str, Any] | None:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
        found = json.loads(text)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(f"{path}: no JSON: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise click.UsageError(f"{path}: a schema is a JSON object")
    return found
