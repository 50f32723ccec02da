"""The store of peers that have none of their own, and single questions to any store."""

import socket
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Command, Site, said_by

FLAGS: Final = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
"""As the embedded store of Packhorse has them: a file that is written out once a second."""


def server(site: Site) -> Command:
    """Listens on the site's store port."""
    return Command(
        (
            *(site.store_program, "--port", str(site.store_port), "--bind", "127.0.0.1"),
            *("--dir", site.folder, *FLAGS),
        )
    )


def ask(address: str, *words: str) -> str:
    """The answer to a command: a number or a text."""
    host, _, port = address.partition(":")
    with socket.socket(socket.AF_INET if port else socket.AF_UNIX) as connected:
        connected.settimeout(10)
        connected.connect((host, int(port)) if port else address)
        connected.sendall(" ".join(words).encode() + b"\r\n")
        with connected.makefile("rb") as answers:
            line = answers.readline().decode().strip()
            if line.startswith("-"):
                raise RuntimeError(f"{address} to {words[0]}: {line}")
            if not line.startswith("$"):
                return line[1:]
            return answers.read(int(line[1:])).decode()


def number(site: Site, *words: str) -> int:
    """The answer of the site's store."""
    return int(ask(f"127.0.0.1:{site.store_port}", *words))


def used_bytes(address: str) -> int:
    """What its data and buffers take."""
    for line in ask(address, "INFO", "memory").splitlines():
        name, _, value = line.partition(":")
        if name == "used_memory":
            return int(value)
    raise RuntimeError(f"{address} does not tell what it uses")


def version(program: str) -> str:
    """Of the server, from its name and what it says of itself."""
    said = said_by(program, "--version") or ""
    [found] = [word for word in said.split() if word.startswith("v=")] or [""]
    return f"{Path(program).name} {found.removeprefix('v=')}"
