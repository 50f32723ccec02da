"""Coverage-guided fuzzing by atheris: `python -m tests.fuzz TARGET SECONDS [--seed N]`.

    python -m tests.fuzz frames 60

Begins with the vectors and what earlier runs kept in `.fuzz`, prints what libFuzzer prints, and
ends with status 0 if nothing was found. An input that breaks a target is written to `.fuzz` and
can be given again: `python -m tests.fuzz TARGET 0 --replay FILE`.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, Final

atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["packhorse_protocol"]):
    compiler: Any = importlib.import_module("packhorse_protocol.compiler")
    targets: Any = importlib.import_module("tests.fuzz.targets")

MEMORY_MB: Final = 1_024
"""A decoder that takes more for one input is a finding."""

ONE_INPUT_S: Final = 5
"""An input that takes longer is a finding."""

LONGEST_INPUT_BYTES: Final = 4_096
"""Frames say little that is new beyond it, and cost time."""

FOLDER: Final = Path(__file__).parents[2] / ".fuzz"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("target", choices=targets.TARGETS)
    options.add_argument("seconds", type=int)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--replay", type=Path)
    asked = options.parse_args()
    target = targets.TARGETS[asked.target]
    if asked.replay is not None:
        target(asked.replay.read_bytes())
        return
    # These are made while the package is imported, so that no import can be watched.
    for record in targets.all_records():
        atheris.instrument_func(compiler.decoder_of(record))
    corpus = FOLDER / asked.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(targets.seeds(asked.target)):
        (corpus / f"vector-{number}").write_bytes(seed)
    dictionary = FOLDER / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in targets.words())
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    arguments = [
        f"-max_total_time={asked.seconds}",
        f"-seed={asked.seed}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={ONE_INPUT_S}",
        f"-dict={dictionary}",
        f"-artifact_prefix={FOLDER}/{asked.target}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
