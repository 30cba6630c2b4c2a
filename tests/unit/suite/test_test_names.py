"""Every test of the tree has a short name."""

from __future__ import annotations

import ast

from helpers.paths import TESTS

LONGEST = 69


def test_no_test_name_has_70_characters_or_more():
    names = [
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 1000
    assert [name for name in names if len(name) > LONGEST] == []
