"""The drivers of all client libraries, as far as their toolchains are there."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CLIENTS: Final = Path(__file__).parents[2] / "clients"

BUILD_S: Final = 300
"""Far above what a build takes, with what it fetches."""


class NotBuilt(Exception):
    """There is no toolchain for this client, or it could not be built."""


@dataclass(frozen=True)
class Library:
    """A client library. `driver` builds it, if it has to be, and says how its driver is run."""

    language: str
    tool: str = ""
    """What has to be there to build it."""
    build: tuple[tuple[str, ...], ...] = ()
    command: tuple[str, ...] = ()

    def driver(self) -> Sequence[str]:
        """Raises `NotBuilt`."""
        if not self.build:
            return self.command
        if shutil.which(self.tool) is None:
            raise NotBuilt(f"{self.language}: {self.tool} is not installed")
        folder = CLIENTS / self.language
        for step in self.build:
            built = subprocess.run(
                step, cwd=folder, capture_output=True, text=True, timeout=BUILD_S, check=False
            )
            if built.returncode:
                raise AssertionError(f"{' '.join(step)}: {built.stdout}{built.stderr}")
        first, *others = self.command
        return [str(folder / first) if "/" in first else first, *others]


PYTHON: Final = Library("python", command=(sys.executable, "-m", "packhorse.driver"))
TYPESCRIPT: Final = Library(
    "typescript",
    tool="npm",
    build=(("npm", "ci", "--no-audit", "--no-fund"), ("npm", "run", "build")),
    command=("node", "dist/driver/main.js"),
)
GO: Final = Library(
    "go",
    tool="go",
    build=(("go", "build", "-o", "bin/packhorse-driver", "./cmd/packhorse-driver"),),
    command=("bin/packhorse-driver",),
)

LIBRARIES: Final = (PYTHON, TYPESCRIPT, GO)
