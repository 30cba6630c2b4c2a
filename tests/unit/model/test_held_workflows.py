"""The digest of the workflows that a processor runs."""

from __future__ import annotations

import pytest

from durablectl.model.held_workflows import HeldWorkflows, digest_ids, is_held


@pytest.mark.parametrize("number", [0, 1, 100, 4096])
def test_digest_tells_which_ids_are_held(number):
    ids = [f"order-{index}" for index in range(number)]
    digest = digest_ids(ids)
    assert all(is_held(digest, each) for each in ids[:50])
    assert is_held(digest, "another") is False
    assert len(digest) < 6 * number + 20


@pytest.mark.parametrize("digest", ["", "crc32:!", "sha1:AAAA", digest_ids([str(n) for n in range(5000)])])
def test_unknown_digest_says_nothing(digest):
    assert is_held(digest, "order-1") is None


def test_what_several_processors_hold_is_one_set():
    held = HeldWorkflows([digest_ids(["a", "b"]), "", "sha1:AAAA", digest_ids(["c"])])
    assert [each for each in "abcd" if each in held] == ["a", "b", "c"]
