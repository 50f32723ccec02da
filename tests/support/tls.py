"""Servers that speak TLS: a program that can, and certificates that are thrown away afterwards."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from packhorse_broker.store.process import find_server

CAN_NOT_READ: Final = b"Failed to configure TLS"
"""What a server says that knows TLS, and is given no certificate that it can read."""

OPENSSL: Final = "openssl"
WAIT_S: Final = 60
DAYS: Final = "2"
KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates:
    """An authority of its own, a certificate by it for the loopback address, and for clients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _openssl(
            *("req", "-x509", *KEY, "-keyout", self._file("ca.key"), "-out", self.authority),
            *("-days", DAYS, "-subj", "/CN=authority"),
        )
        self._issue("server", "subjectAltName=IP:127.0.0.1")
        self._issue("client", "extendedKeyUsage=clientAuth")

    @property
    def authority(self) -> str:
        """The file with the certificate that vouches for all others."""
        return self._file("ca.crt")

    @cached_property
    def serving(self) -> ssl.SSLContext:
        """For a server that asks nobody who it is."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(self._file("server.crt"), self._file("server.key"))
        return made

    @cached_property
    def trusting(self) -> ssl.SSLContext:
        """For a client that is not asked who it is."""
        return ssl.create_default_context(cafile=self.authority)

    @cached_property
    def context(self) -> ssl.SSLContext:
        """For a client that is."""
        made = ssl.create_default_context(cafile=self.authority)
        made.load_cert_chain(self._file("client.crt"), self._file("client.key"))
        return made

    def _issue(self, name: str, extension: str) -> None:
        request, extensions = self._file(f"{name}.csr"), self._folder / f"{name}.ext"
        extensions.write_text(extension)
        _openssl(
            *("req", *KEY, "-keyout", self._file(f"{name}.key"), "-out", request),
            *("-subj", f"/CN={name}"),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-out", self._file(f"{name}.crt"), "-days", DAYS),
            *("-CA", self.authority, "-CAkey", self._file("ca.key"), "-CAcreateserial"),
            *("-extfile", str(extensions)),
        )

    def _file(self, name: str) -> str:
        return str(self._folder / name)


class Tls(Certificates):
    """With them, a server of the store that takes TLS alone."""

    def __init__(self, program: Path, folder: Path) -> None:
        """`program`: as `tls_program` finds it."""
        super().__init__(folder)
        self.program = program

    @property
    def query(self) -> str:
        """Of a store's URL."""
        return urlencode(
            {
                "ssl_ca_certs": self.authority,
                "ssl_certfile": self._file("client.crt"),
                "ssl_keyfile": self._file("client.key"),
            }
        )

    def settings(self, port: int) -> tuple[str, ...]:
        """Of a server that takes TLS alone, and clients with a certificate alone."""
        return (
            *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "yes"),
            *("--tls-ca-cert-file", self.authority),
            *("--tls-cert-file", self._file("server.crt")),
            *("--tls-key-file", self._file("server.key")),
            *("--tls-replication", "yes", "--tls-cluster", "yes"),
        )


def tls_program() -> Path | None:
    """A server that was built with TLS; the packaged one may not be."""
    if shutil.which(OPENSSL) is None:
        return None
    return next((program for program in _programs() if _speaks_tls(program)), None)


def _programs() -> Iterator[Path]:
    yield find_server()
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _speaks_tls(program: Path) -> bool:
    """It ends by itself in any case: there is no certificate, or no such setting."""
    return CAN_NOT_READ in _run(
        *(str(program), "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere")
    )


def _openssl(*arguments: str) -> None:
    _run(OPENSSL, *arguments, check=True)


def _run(*command: str, check: bool = False) -> bytes:
    return subprocess.run(command, check=check, capture_output=True, timeout=WAIT_S).stdout
