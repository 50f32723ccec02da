"""The client libraries, and how the driver of each is built and run (DRIVER.md of the kit)."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CLIENTS: Final = Path(__file__).parents[2] / "clients"

BUILD_S: Final = 300
"""Far above what a build takes, with what it fetches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A client library in one language."""

    name: str
    """Also that of its folder."""
    tools: tuple[str, ...] = ()
    """What has to be there to build and run it."""
    build: tuple[tuple[str, ...], ...] = ()
    """Commands, in its folder."""
    driver: tuple[str, ...]
    """The command, once it is built."""

    def missing(self) -> str | None:
        """Why it can't be tested here."""
        lacking = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"there is no {lacking[0]}" if lacking else None

    def make(self) -> None:
        """Builds the driver. Raises RuntimeError, with what the build had to say."""
        for command in self.build:
            built = subprocess.run(
                command,
                cwd=CLIENTS / self.name,
                capture_output=True,
                text=True,
                timeout=BUILD_S,
                check=False,
            )
            if built.returncode:
                said = f"{built.stdout}{built.stderr}"
                raise RuntimeError(f"{self.name}: {' '.join(command)} failed\n{said}")


PYTHON: Final = Library(name="python", driver=(sys.executable, "-m", "packhorse.driver"))
TYPESCRIPT: Final = Library(
    name="typescript",
    tools=("npm", "node"),
    build=(("npm", "ci", "--silent"), ("npm", "run", "--silent", "build")),
    driver=("node", str(CLIENTS / "typescript" / "dist" / "driver" / "driver.js")),
)
GO: Final = Library(
    name="go",
    tools=("go",),
    build=(("go", "build", "-o", "bin/packhorse-driver", "./cmd/packhorse-driver"),),
    driver=(str(CLIENTS / "go" / "bin" / "packhorse-driver"),),
)

LIBRARIES: Final = (PYTHON, TYPESCRIPT, GO)
