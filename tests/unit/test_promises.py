"""tests/PROMISES.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = [
    row
    for row in (TESTS / "PROMISES.md").read_text().splitlines()
    if row.startswith("| ") and not row.startswith("| promise |")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_promise_names_its_proof(row: str):
    proof = row.split("|")[3]
    named = re.findall(r"`(\w+\.py)?::(\w+)`", proof)
    assert named
    module = ""
    for file, test in named:
        module = file or module
        texts = [path.read_text() for path in TESTS.glob(f"*/{module}")]
        assert any(f"\ndef {test}(" in text for text in texts), f"{module}::{test}"
