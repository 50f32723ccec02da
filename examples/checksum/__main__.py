"""`make demo`: checksums of a folder's files over a broker, losing a runner on the way."""

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from examples.checksum import files
from examples.checksum.demo import Demo, Result, manifest, shown_name, summary
from examples.checksum.processes import BrokerProcess, DidNotStart
from packhorse import PackhorseError

REPOSITORY = Path(__file__).parents[2]


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose files are read; without it this repository's own files.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default="checksums.sha256")
def main(folder: Path | None, out: Path) -> None:
    """Compute the SHA-256 of every file and write a manifest that `sha256sum -c` verifies."""
    if not out.resolve().parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    if folder is None:
        folder = REPOSITORY
        names = files.of_repository(folder)
    else:
        names = files.below(folder, without=out)
    try:
        result, clean, said = asyncio.run(_run(folder, names))
    except (DidNotStart, PackhorseError) as error:
        raise click.ClickException(str(error)) from error
    out.write_bytes(manifest(result))
    for line in summary(result):
        click.echo(line)
    click.echo(f"fsck           {said}")
    click.echo(f"manifest       {out}   (verify in {folder}: sha256sum -c {out.resolve()})")
    for name, reason in sorted(result.failed.items()):
        click.echo(f"error: {shown_name(name)}: {reason}", err=True)
    sys.exit(1 if result.failed or result.left_in_store or not clean else 0)


async def _run(folder: Path, names: list[bytes]) -> tuple[Result, bool, str]:
    with tempfile.TemporaryDirectory(prefix="packhorse-demo-") as data_dir:
        broker = BrokerProcess(Path(data_dir))
        await broker.start()
        try:
            result = await Demo(broker, folder, names).run()
        finally:
            await broker.stop()
        clean, said = await broker.fsck()
        return result, clean, said


if __name__ == "__main__":
    main()
