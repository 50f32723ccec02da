"""Certificates that are thrown away: an authority, and one by it for a host. It takes openssl."""

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Final

from packhorse_conformance.verdict import Skipped

OPENSSL: Final = "openssl"
WAIT_S: Final = 20
DAYS: Final = "2"
KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """`file` is what a client is to trust; `serving` what a broker shows."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one. Raises `Skipped` without openssl."""
        if shutil.which(OPENSSL) is None:
            raise Skipped("there is no openssl to make certificates with")
        self._folder = folder
        self.file = str(folder / "authority.crt")
        self._key = str(folder / "authority.key")
        _openssl(
            *("req", "-x509", *KEY, "-keyout", self._key, "-out", self.file),
            *("-days", DAYS, "-subj", "/CN=authority"),
        )

    def serving(self, host: str) -> ssl.SSLContext:
        """For a broker at this host: `IP:127.0.0.1` or `DNS:example.org`."""
        request, extension = self._folder / "broker.csr", self._folder / "broker.ext"
        key, certificate = self._folder / "broker.key", self._folder / "broker.crt"
        extension.write_text(f"subjectAltName={host}")
        _openssl("req", *KEY, "-keyout", str(key), "-out", str(request), "-subj", "/CN=broker")
        _openssl(
            *("x509", "-req", "-in", str(request), "-out", str(certificate), "-days", DAYS),
            *("-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-extfile", str(extension)),
        )
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(certificate, key)
        return made


def _openssl(*arguments: str) -> None:
    subprocess.run((OPENSSL, *arguments), check=True, capture_output=True, timeout=WAIT_S)
