"""The merged connection settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_URL = "nats://127.0.0.1:4222"

_CREDENTIALS = re.compile(r"((?:^|,)\s*(?:\w+://)?)(?:[^,]|,(?!\s*\w+://))*@")
"""A comma may be part of a password, unless a scheme follows."""
_NEVER_SHOWN = frozenset({"password", "token", "user_jwt", "user_seed", "sources", "read_again"})


@dataclass(frozen=True)
class Settings:
    """Empty strings mean "not set". Secrets never appear in ``repr``.

    ``url`` may hold several URLs with commas between them; ``creds``, ``nkey`` and ``tls_*`` are paths of files;
    ``timeout`` is in seconds; ``namespace`` "" is the default one. ``sources`` says for each field where its value came
    from: "flag --nats-url", "environment NATS_URL", "context NAME", "default". ``warnings`` are whole sentences.
    ``read_again`` reads the same sources once more, for a NATS context may have been changed; None where there is none.
    """

    url: str = DEFAULT_URL
    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    nkey: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_first: bool = False
    user_jwt: str = ""
    user_seed: str = ""
    inbox_prefix: str = ""
    jetstream_domain: str = ""
    jetstream_api_prefix: str = ""
    timeout: float = 5.0
    namespace: str = ""
    context: str = ""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    read_again: Callable[[], Settings] | None = field(default=None, compare=False, repr=False)

    @property
    def display_url(self) -> str:
        """``url`` without the user, password or token that it may hold."""
        return without_credentials(self.url)

    @property
    def url_source(self) -> str:
        """Where ``url`` was named, "environment NATS_URL" say; empty for the default."""
        source = self.sources.get("url", "default" if self.url == DEFAULT_URL else "settings")
        return "" if source == "default" else source

    @property
    def audit_name(self) -> str:
        """As whom this connects, for the audit trail: the NATS user, the file of credentials, the NATS context."""
        user = self.user or urlsplit(self.url.partition(",")[0]).username or ""
        user = user or next((PurePath(path).name for path in (self.creds, self.nkey, self.tls_cert) if path), "")
        return " ".join(filter(None, (user, f"(context {self.context})" if self.context else "")))

    @property
    def api_prefix(self) -> str:
        """Of JetStream's API in another domain or account; empty for the usual one."""
        return self.jetstream_api_prefix or (f"$JS.{self.jetstream_domain}.API" if self.jetstream_domain else "")

    def __repr__(self) -> str:
        shown = {"url": self.display_url}
        shown |= {n: v for n, v in vars(self).items() if v and n not in _NEVER_SHOWN and n != "url"}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def without_credentials(url: str) -> str:
    """The same URL or comma-separated URLs without user, password or token, whatever characters these hold."""
    return ", ".join(part.strip() for part in _CREDENTIALS.sub(r"\1", url).split(",") if part.strip())
