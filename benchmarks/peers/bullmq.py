"""BullMQ: producer and worker in Node (bullmq.mjs); completed jobs are removed."""

import json
import os
import shutil
from pathlib import Path

from benchmarks.peers import store
from benchmarks.peers.peer import README, Command, Peer, Site, peers_dir, said_by


def _folder() -> Path:
    """Where the package is resolved from."""
    return Path(os.environ.get("BULLMQ_DIR") or peers_dir() / "js")


class BullMQ(Peer):
    name = "bullmq"
    jobs = 40_000
    concurrency = 50
    calls_per_s = 100
    on_store = True

    def missing(self) -> str | None:
        how = f"see {README}, Node"
        if shutil.which("node") is None:
            return f"no node on PATH; {how}"
        if said_by("node", "-e", f"{_require()}.resolve('bullmq')") is None:
            return f"node finds no bullmq from {_folder()}: set BULLMQ_DIR; {how}"
        return None

    def version(self) -> str:
        packages = [_folder() / "node_modules" / name for name in ("bullmq", "ioredis")]
        return ", ".join(
            f"{package.name} {json.loads((package / 'package.json').read_text())['version']}"
            for package in packages
            if package.exists()
        )

    def process(self, role: str) -> Command:
        script = Path(__file__).with_suffix(".mjs")
        return Command(("node", str(script), role), {"BULLMQ_DIR": str(_folder().resolve())})

    def left(self, site: Site) -> int:
        return sum(store.number(site, "LLEN", f"bull:bench:{name}") for name in ("wait", "active"))


def _require() -> str:
    return f"require('module').createRequire({json.dumps(f'{_folder().resolve()}/')})"
