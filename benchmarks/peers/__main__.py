"""Packhorse and other job queues side by side, in interleaved rounds.

    make bench-peers PEERS=packhorse,nats ROUNDS=3 WORKLOADS=W1,W3 JSON=rounds.json
    or: python -m benchmarks.peers --peers packhorse --rounds 1 --jobs 2000

README.md says what is measured and how what is missing is installed.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.peers.peer import Peer
from benchmarks.peers.roster import ROSTER
from benchmarks.peers.store import version
from benchmarks.peers.tables import TITLES, table
from benchmarks.peers.trial import Trial, TrialFailed
from benchmarks.peers.workloads import WORKLOADS, Sizes
from packhorse_broker.store.process import find_server


def chosen(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Names with commas between them, each one of those that there are; all if there is none."""
    del context
    known = list(ROSTER if parameter.name == "peers" else WORKLOADS)
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name} is none of {', '.join(known)}")
    return names or known


def trials(workloads: list[str]) -> list[list[str]]:
    """The workloads, those together that are measured by one trial."""
    together: dict[object, list[str]] = {}
    for name in workloads:
        together.setdefault(WORKLOADS[name], []).append(name)
    return list(together.values())


def rotated(peers: list[Peer], round_: int) -> list[Peer]:
    """Another order in each round, so that no one always comes after the same."""
    at = round_ % len(peers)
    return peers[at:] + peers[:at]


def measured(
    peer: Peer, workloads: list[str], sizes: Sizes, store: str, concurrency: int | None
) -> dict[str, Any]:
    """One trial, and what went wrong if it did."""
    run: dict[str, Any] = {
        "peer": peer.name,
        "workloads": workloads,
        "at": time.strftime("%H:%M:%S"),
        "load": round(os.getloadavg()[0], 2),
    }
    started = time.perf_counter()
    try:
        with Trial(peer, store, concurrency) as trial:
            run["figures"] = WORKLOADS[workloads[0]](trial, sizes)
    except (TrialFailed, OSError, RuntimeError, ValueError) as failed:
        run["error"] = str(failed)
    return {**run, "seconds": round(time.perf_counter() - started, 1)}


def installed(peers: list[Peer], console: Console) -> list[Peer]:
    """Those that can be measured; of the others is told what they lack."""
    there: list[Peer] = []
    for peer in peers:
        if (lacks := peer.missing()) is not None:
            console.print(f"skipped {peer.name}: {lacks}", highlight=False, soft_wrap=True)
        else:
            there.append(peer)
            console.print(f"{peer.name}: {peer.version()}", highlight=False)
    return there


def tell(run: dict[str, Any], console: Console) -> None:
    """That a trial is over; of a failure in short, the JSON has more of the peer's log."""
    trial = f"{run['peer']}, {'+'.join(run['workloads'])}"
    said = f"round {run['round']}: {trial}: {run['seconds']} s"
    if "error" in run:
        first, *log = run["error"].splitlines() or ["no word"]
        said = f"failed {trial}: {first}" + (f" ({log[-1]})" if log else "")
    console.print(said, highlight=False, soft_wrap=True, markup=False)


@click.command()
@click.option("--peers", default="", callback=chosen, help="Which, with commas. All by default.")
@click.option("--workloads", default="", callback=chosen, help="Of W1, W2, W3 and W4; all.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--jobs", type=int, help="Of each phase of W1, instead of what fits each peer.")
@click.option("--depth", default=100_000, show_default=True, help="Jobs that wait in W4.")
@click.option("--seconds", default=8.0, show_default=True, help="Of each rate in W2.")
@click.option("--concurrency", type=int, help="Of the workers, instead of what fits each peer.")
@click.option("--store", help="Server program for peers on a store, instead of Packhorse's own.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Gets every round.")
def main(
    peers: list[str],
    workloads: list[str],
    rounds: int,
    jobs: int | None,
    depth: int,
    seconds: float,
    concurrency: int | None,
    store: str | None,
    json_file: Path | None,
) -> None:
    """Measure job queues side by side."""
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    console = Console(width=180)
    program = store or str(find_server())
    console.print(f"store: {version(program)}", highlight=False)
    there = installed([ROSTER[name] for name in peers], console)
    sizes = Sizes(jobs=jobs, depth=depth, seconds=seconds)
    runs: list[dict[str, Any]] = []
    for round_ in range(rounds if there else 0):
        for together in trials(workloads):
            for peer in rotated(there, round_):
                run = measured(peer, together, sizes, program, concurrency)
                runs.append({"round": round_ + 1, **run})
                tell(runs[-1], console)
        if json_file is not None:
            versions = {"store": version(program)} | {one.name: one.version() for one in there}
            json_file.write_text(json.dumps({"versions": versions, "runs": runs}, indent=1))
    order = {name: place for place, name in enumerate(ROSTER)}
    runs.sort(key=lambda run: order[run["peer"]])
    for workload in TITLES:
        if (made := table(workload, runs)).row_count:
            console.print(made)
    sys.exit(1 if any("error" in run for run in runs) else 0)


if __name__ == "__main__":
    main()
