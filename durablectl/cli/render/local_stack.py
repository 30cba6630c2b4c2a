"""The pieces of a running stack, as `demo` and `dev` show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence


Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class LocalStackView:
    """What a user wants to know of the pieces. ``app_source`` says from where the app was taken, "sample" for ours.

    ``http_url`` is empty where no HTTP API is served.
    """

    nats_url: str
    server_version: str
    namespace: str
    app: Sequence[str]
    app_source: str
    workflows: Sequence[str]
    services: Sequence[str]
    processor_id: str
    slots: int
    http_url: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "nats_url": self.nats_url,
            "server_version": self.server_version,
            "namespace": self.namespace or None,
            "app": list(self.app),
            "app_source": self.app_source,
            "workflows": list(self.workflows),
            "services": list(self.services),
            "processor_id": self.processor_id,
            "slots": self.slots,
            "http_url": self.http_url or None,
        }


def demo_rows(view: LocalStackView) -> Rows:
    """Label and text of each piece, in brief."""
    return [
        ("nats-server", f"{view.server_version} at {view.nats_url}, in a temporary directory"),
        ("services", ", ".join(view.services)),
        ("processor", f"takes {len(view.workflows)} kinds of workflows, up to {view.slots} at once"),
    ]


def dev_rows(view: LocalStackView, data_dir: str) -> Rows:
    """Label and text of each piece, with all that it runs."""
    app = " ".join(view.app)
    if view.app_source == "sample":
        app += ", the sample; name your own with --app, DURABLECTL_APP or in pyproject.toml"
    return [
        ("nats-server", f"{view.server_version} at {view.nats_url}"),
        ("data", f"{data_dir}, kept for the next time"),
        *([("namespace", view.namespace)] if view.namespace else []),
        ("app", app),
        ("workflows", ", ".join(view.workflows) or "none"),
        ("services", ", ".join(view.services) or "none"),
        ("processor", f"{view.processor_id}, up to {view.slots} workflows at once"),
        *([("HTTP API", view.http_url)] if view.http_url else []),
    ]


def component_table(rows: Rows) -> Table:
    """For a terminal; long texts wrap below themselves."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, text in rows:
        table.add_row(Text("✓", "green"), Text(label, "bold"), Text(text))
    return table


def command_lines(lines: Sequence[str]) -> Text:
    """Indented, one a line; print it with ``soft_wrap``, because it is there to be copied."""
    return Text("\n".join(f"  {line}" for line in lines), "cyan")
