"""Certificates that tests make: a CA, and what it signs, as PEM files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from msgspec import Struct


class Pair(Struct, frozen=True):
    """Of files. `both` has the key and the certificate in one."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """A CA. Names are hosts or addresses, or, with `common_name`, those of a client."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, file: str, *names: str, common_name: str | None = None, expired: bool = False) -> Pair:
        """Written to files of this name, also over former ones."""
        now = datetime.now(UTC)
        ends = now - timedelta(days=1) if expired else now + timedelta(days=1)
        made = self._ca.issue_cert(
            *(names or [f"{file}.test"]),  # Java reads none without a name
            common_name=common_name,
            not_before=now - timedelta(days=2),
            not_after=ends,
        )
        pair = Pair(*(self._folder / f"{file}{end}" for end in (".crt", ".key", ".pem")))
        # The one form of keys that Java reads.
        key = load_pem_private_key(made.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        certificate = made.cert_chain_pems[0].bytes()
        pair.certificate.write_bytes(certificate)
        pair.key.write_bytes(key)
        pair.both.write_bytes(key + certificate)
        return pair
