"""The broker's commands: `serve`, `fsck`, `migrate`, `config`, loaded by the `packhorse` command.

What can go wrong for a reason that the caller can mend is one line on standard error and exit
status 1; a setting or argument that can't be is exit status 2.
"""

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import uvloop

from packhorse_broker.addresses import ListenError
from packhorse_broker.broker import LIBRARY
from packhorse_broker.config import SETTINGS, Config
from packhorse_broker.daemon import StoreEnded
from packhorse_broker.daemon import serve as serve_daemon
from packhorse_broker.logs import set_up as set_up_logs
from packhorse_broker.settings import ConfigError
from packhorse_broker.sources import Loaded, load
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.findings import Report
from packhorse_broker.store.fsck import Checker
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.migrations import STEPS, Migration, Phase, Progress
from packhorse_broker.store.schema import check_schema
from packhorse_broker.store.transaction import Lane
from packhorse_broker.supervised import ProcessFailed
from packhorse_broker.supervisor import processes_of, supervise

Result = TypeVar("Result")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

USAGE: Final = 2
"""Exit status of a wrong argument or setting."""

MIGRATED_VALUES: Final = 10_000
"""After so many values a migration says how far it is."""

_EXPECTED: Final = (ListenError, ProcessFailed, StoreError, StoreEnded)


def _setting_flags(command: Decorated) -> Decorated:
    """A flag for each setting, and `--config` for the file."""
    for setting in reversed(list(SETTINGS.values())):
        command = click.option(
            setting.flag, setting.name, metavar=setting.kind.upper(), help=setting.about
        )(command)
    return click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TOML file with settings (also: PACKHORSE_CONFIG).",
    )(command)


def _load(file: Path | None, flags: Mapping[str, object]) -> Loaded:
    try:
        return load(file=file, environ=os.environ, flags=flags)
    except ConfigError as error:
        raise _WrongSetting(str(error)) from error


class _WrongSetting(click.ClickException):
    """As for a wrong argument: the caller has to change what it asks."""

    exit_code = USAGE


def _run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    try:
        return uvloop.run(main())
    except _EXPECTED as error:
        raise click.ClickException(str(error)) from error


@click.command()
@_setting_flags
def serve(file: Path | None, **flags: str | None) -> None:
    """Run the broker until SIGTERM or Ctrl-C.

    \b
    packhorse serve
    packhorse serve --listen tcp://127.0.0.1:7225 --store redis://127.0.0.1:6379/0
    packhorse serve --processes 4
    """
    config = _load(file, flags).config
    set_up_logs(level=config.log_level, log_format=config.log_format)

    processes = processes_of(config)

    def ready(addresses: Sequence[str]) -> None:
        store = config.store and SETTINGS["store"].shown(config.store)
        click.echo(f"{LIBRARY}   broker {' '.join(addresses)}")
        click.echo(f"store  {store or f'embedded, in {config.data_dir}'}")
        if processes > 1:
            click.echo(f"runs   in {processes} processes")
        click.echo("ready  stop it with Ctrl-C or SIGTERM; `packhorse info` looks at it")

    _run(supervise(config, ready) if processes > 1 else serve_daemon(config, ready))


@click.command()
@_setting_flags
@click.option("--mend", is_flag=True, help="Rewrite wrong index entries from the records.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each finding.")
def fsck(file: Path | None, mend: bool, as_json: bool, **flags: str | None) -> None:
    """Check that the records and the indexes in the store agree.

    With --store that store is checked, brokers may be at work; without it the embedded one in
    the data folder, whose broker must be stopped.

    \b
    packhorse fsck --store redis://127.0.0.1:6379/0
    packhorse fsck --data-dir /var/lib/packhorse --mend
    """
    config = _load(file, flags).config
    set_up_logs(level="warning", log_format=config.log_format)
    report = _run(_check(config, mend=mend))
    for finding in report.findings:
        click.echo(json.dumps(_as_object(finding)) if as_json else str(finding))
    left = [finding for finding in report.findings if not finding.mended]
    click.echo(
        f"{report.jobs} jobs, {report.index_entries} index entries, "
        f"{len(report.findings)} findings, {len(left)} not mended",
        err=as_json,
    )
    sys.exit(1 if left else 0)


async def _check(config: Config, *, mend: bool) -> Report:
    async def check(address: StoreAddress) -> Report:
        report = Report(0, 0, [])
        for keys in await _partitions(config, address):
            lane = Lane(address.of(keys.base), keys.writer(f"fsck-{secrets.token_hex(6)}"))
            try:
                found = await Checker(lane, keys).check(mend=mend)
            finally:
                await lane.close()
            report = report.together_with(found)
        return report

    return await _at_store(config, check, name="fsck")


async def _partitions(config: Config, address: StoreAddress) -> list[PartitionKeys]:
    """Of the store."""
    keys = ClientKeys(config.prefix)
    lane = Lane(address.of(keys.base), keys.writer(f"look-{secrets.token_hex(6)}"))
    try:
        identity = await check_schema(lane, keys)
    finally:
        await lane.close()
    partitions = identity.partitions if identity is not None else 1
    return [PartitionKeys(config.prefix, partition) for partition in range(partitions)]


async def _at_store(
    config: Config, work: Callable[[StoreAddress], Awaitable[Result]], *, name: str
) -> Result:
    """Works on the store that is named, else on the embedded one, which runs as long as this."""

    def address(url: str) -> StoreAddress:
        return StoreAddress(
            url=url, timeout_ms=config.store_timeout_ms, client_name=f"packhorse:{name}"
        )

    if config.store is not None:
        return await work(address(config.store))
    if not (config.data_dir / "appendonlydir").is_dir():
        raise StoreError(
            f"there is no store in {config.data_dir}; choose one with --data-dir or --store"
        )
    embedded = EmbeddedStore(config.data_dir)
    await embedded.start()
    try:
        return await work(address(embedded.url))
    finally:
        await embedded.stop()


def _as_object(finding: Any) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "job": finding.job,
        "key": finding.key,
        "mended": finding.mended,
    }


@click.command()
@_setting_flags
@click.option("--look", is_flag=True, help="Only say what is to be done.")
def migrate(file: Path | None, look: bool, **flags: str | None) -> None:
    """Bring what is in the store to this release's schema version.

    Brokers may be at work. It may be ended at any time, and goes on where it was. While brokers
    of the older release run it does what they can bear, names them and ends with status 1: replace
    them, one after the other, then run it again.

    \b
    packhorse migrate --look --store redis://127.0.0.1:6379/0
    packhorse migrate --store redis://127.0.0.1:6379/0
    """
    config = _load(file, flags).config
    set_up_logs(level="warning", log_format=config.log_format)

    async def work(address: StoreAddress) -> None:
        holder = f"migrate-{secrets.token_hex(6)}"
        client_keys = ClientKeys(config.prefix)
        clients = Lane(address.of(client_keys.base), client_keys.writer(holder))
        jobs = [
            (Lane(address.of(keys.base), keys.writer(holder)), keys)
            for keys in await _partitions(config, address)
        ]
        migration = Migration(clients, client_keys, jobs, STEPS, holder=holder)
        try:
            if not look:
                await migration.run(_ToldMigration())
            click.echo(await _migration_told(migration))
        finally:
            await clients.close()
            for lane, _ in jobs:
                await lane.close()

    _run(_at_store(config, work, name="migrate"))


class _ToldMigration:
    """Says now and then how far it is."""

    def __init__(self) -> None:
        self._said: tuple[Phase, int] | None = None

    def __call__(self, progress: Progress) -> None:
        now = (progress.phase, progress.seen // MIGRATED_VALUES)
        if now != self._said:
            self._said = now
            click.echo(_progress_told(progress))


async def _migration_told(migration: Migration) -> str:
    identity, progress = await migration.look()
    if progress is None:
        return f"the store has schema version {identity.schema}: nothing is to be done"
    older = await migration.older_brokers(progress.target)
    waits = f"; brokers of the older release: {', '.join(older)}" if older else ""
    steps = "".join(
        f"\n  {step.version}: {step.about}"
        for step in STEPS
        if identity.schema < step.version <= progress.target
    )
    return f"{_progress_told(progress)}{waits}{steps}"


def _progress_told(progress: Progress) -> str:
    counts = f"{progress.seen} values seen, {progress.changed} changed"
    return f"to schema version {progress.target}: {progress.phase}, {counts}"


@click.group()
def config() -> None:
    """Look at the broker's settings."""


@config.command()
@_setting_flags
@click.option("--origin", is_flag=True, help="Also say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each setting.")
def show(file: Path | None, origin: bool, as_json: bool, **flags: str | None) -> None:
    """Show every setting as `serve` would use it.

    \b
    packhorse config show --origin
    packhorse config show --config broker.toml
    """
    loaded = _load(file, flags)
    for name, value in loaded.config.shown().items():
        if as_json:
            told = {"name": name, "value": value, "origin": loaded.origins[name]}
            click.echo(json.dumps(told))
        else:
            suffix = f"   # {loaded.origins[name]}" if origin else ""
            click.echo(f"{name} = {value}{suffix}")
