"""docs/guarantees.md names tests: they are there, and each statement has one."""

from __future__ import annotations

import re

from helpers.paths import ROOT, TESTS

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_every_test_that_the_guarantees_name_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    source = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    assert len(named) > 30
    assert not [name for name in sorted(named) if not re.search(rf"def {name}\(", source)]


def test_every_guarantee_names_a_test():
    promised = PAGE[: PAGE.index("## What can be lost")]
    statements = re.split(r"\n(?=- )", promised)[1:]
    assert len(statements) > 20
    assert not [statement for statement in statements if "`test_" not in statement]
