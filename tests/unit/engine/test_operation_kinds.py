"""One row and one class per kind of operation: what shows a workflow and what runs it agree on the kinds."""

from __future__ import annotations

import re
from pathlib import Path

import durablectl
from durablectl.engine.operations.operation_registry import OPERATIONS, WAIT_OPERATIONS
from durablectl.model.operation_kinds import DRAWN_AS_WAIT, OPERATION_KINDS, WAITS

ASSETS = Path(durablectl.__file__).parent / "http" / "assets"


def test_every_kind_has_a_row_and_a_class():
    assert OPERATIONS.keys() == OPERATION_KINDS.keys()


def test_the_kinds_journaled_twice_are_the_wait_operations():
    assert WAIT_OPERATIONS.keys() == WAITS


def test_the_dashboard_draws_the_same_kinds_as_waits():
    listed = re.search(r"const WAITS = new Set\(\[(.*?)\]\)", (ASSETS / "timeline.js").read_text(encoding="utf-8"))
    assert set(re.findall(r'"(\w+)"', listed[1])) == DRAWN_AS_WAIT


def test_the_dashboard_names_what_is_awaited_as_the_terminal_does():
    listed = re.search(r"const WAITS = \{(.*?)\}", (ASSETS / "words.js").read_text(encoding="utf-8"))
    named = {kind: row.awaited for kind, row in OPERATION_KINDS.items() if row.awaited}
    assert dict(re.findall(r'(\w+): "(.*?)"', listed[1])) == named
