"""Makes what servers and clients prove themselves with: keys, JWTs of an operator, certificates."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import nkeys  # type: ignore[import-untyped]  # it has no py.typed
import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")

_EXTENSIONS = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""
_LIMITS = {
    "subs": -1,
    "data": -1,
    "payload": -1,
    "imports": -1,
    "exports": -1,
    "conn": -1,
    "leaf": -1,
    "wildcards": True,
}
_JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class Key(NamedTuple):
    seed: str
    public: str

    @classmethod
    def make(cls, prefix: int = nkeys.PREFIX_BYTE_USER) -> Key:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        return cls(seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode())

    def token(self, subject: Key, name: str, nats: dict[str, Any], lasts: float = 0) -> str:
        """A JWT that this key signs; it ends after so many seconds, if that is not 0."""
        now = int(time.time())
        claims = {"jti": name, "iat": now, "iss": self.public, "name": name, "sub": subject.public}
        claims |= {"exp": now + int(lasts)} if lasts else {}
        parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, claims | {"nats": {**nats, "version": 2}})
        signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
        return b".".join((signed, _base64(nkeys.from_seed(bytearray(self.seed.encode())).sign(signed)))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Operator:
    """With an account that may use JetStream, and the system's; ``config`` is for the server."""

    def __init__(self) -> None:
        operator, system = Key.make(nkeys.PREFIX_BYTE_OPERATOR), Key.make(nkeys.PREFIX_BYTE_ACCOUNT)
        self.account = Key.make(nkeys.PREFIX_BYTE_ACCOUNT)
        accounts = {
            key.public: operator.token(key, name, {"type": "account", "limits": limits})
            for key, name, limits in ((self.account, "shop", _LIMITS | _JETSTREAM), (system, "system", _LIMITS))
        }
        preload = "\n".join(f"{name}: {jwt}" for name, jwt in accounts.items())
        own = operator.token(operator, "operator", {"type": "operator", "system_account": system.public})
        self.config = f"operator: {own}\nresolver: MEMORY\nsystem_account: {system.public}\n"
        self.config += f"resolver_preload {{\n{preload}\n}}"

    def user(self, lasts: float = 0, payload: int = -1) -> tuple[str, str]:
        """JWT and seed; ``payload`` is the most bytes of a message, -1 for as many as the server allows."""
        key = Key.make()
        limits = {"type": "user", "subs": -1, "data": -1, "payload": payload}
        return self.account.token(key, "ada", limits, lasts), key.seed


def credentials(jwt: str, seed: str) -> str:
    """A file as ``nsc`` writes it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


class Certificates:
    """An authority of a directory of its own, which signs certificates for this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "extensions.cnf").write_text(_EXTENSIONS)
        self.authority, self._key = self._make("authority", "authority")

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key."""
        return self._make(name, "leaf", "-CA", str(self.authority), "-CAkey", str(self._key))

    def _make(self, name: str, extensions: str, *signed: str) -> tuple[Path, Path]:
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", f"/CN={name}"),
                *("-config", str(self.directory / "extensions.cnf"), "-extensions", extensions, *signed),
            ],
            check=True,
            capture_output=True,
        )
        return certificate, key
