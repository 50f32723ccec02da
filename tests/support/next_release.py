"""`packhorse` as a later release would be, with schema version 2: `python -m` this.

Its step writes job records with all their fields, where this release leaves out those at the end
that have their defaults. Both read both. KILLED_AFTER=n: kills itself before the record
after so many is written.
"""

import os
import signal
import sys
from collections.abc import Sequence
from itertools import count
from typing import Final

import msgpack

from packhorse_broker import cli
from packhorse_broker.jobs.model import Job
from packhorse_broker.store import migrations, registry, schema
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument

VERSION: Final = 2

_DEFAULTS: Final = Job.__struct_defaults__
_FIELDS: Final = len(Job.__struct_fields__)
_calls: Final = count()


def is_full(record: bytes) -> bool:
    return len(msgpack.unpackb(record)) == _FIELDS


def fill(key: bytes, record: bytes) -> Sequence[Argument]:
    """To the full form; nothing if it has it."""
    values = msgpack.unpackb(record, use_list=True)
    missing = _FIELDS - len(values)
    if not missing:
        return ()
    if next(_calls) == int(os.environ.get("KILLED_AFTER", "-1")):
        os.kill(os.getpid(), signal.SIGKILL)
    return [("SET", key, msgpack.packb([*values, *_DEFAULTS[-missing:]]))]


def all_records(keys: PartitionKeys) -> bytes:
    return keys.record("")


STEP: Final = migrations.Step(
    version=VERSION, about="full records", prefix=all_records, expand=fill, contract=fill
)


def main() -> None:
    for module, name, value in (
        (schema, "SCHEMA_VERSION", VERSION),
        (registry, "SCHEMA_VERSION", VERSION),
        (cli, "STEPS", (STEP,)),
    ):
        setattr(module, name, value)
    commands = {"serve": cli.serve, "migrate": cli.migrate}
    commands[sys.argv[1]](sys.argv[2:], prog_name=f"packhorse {sys.argv[1]}")


if __name__ == "__main__":
    main()
