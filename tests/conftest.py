"""Run two test files at once, each upon a lab of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# Before anything reads it: each worker of pytest-xdist has an instance of the lab to itself. What a test runs
# finds its worker's instance, and no worker that it would add once more.
_WORKER = os.environ.pop("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ["PYINFRA_NSPAWN_LAB"] = str(int(os.environ.get("PYINFRA_NSPAWN_LAB") or 0) + int(_WORKER))

# pyinfra's command line makes every thread a greenlet when it is imported. Tests only take a helper from it,
# and a worker of pytest-xdist dies of that.
with mock.patch("gevent.monkey.patch_all"):
    import pyinfra_cli  # noqa: F401

#: About how long a file takes, in seconds: estimates, as only their order matters. A lab file that is not
#: listed counts as one of a minute, any other as one of no time.
SECONDS = {
    "test_killed.py": 300,
    "test_moves.py": 200,
    "test_unfit.py": 200,
    "test_kinds.py": 150,
    "test_verify.py": 140,
    "test_hostile.py": 120,
    "test_main_job.py": 110,
    "test_removal.py": 90,
    "test_shared.py": 80,
    "test_fake_fleet.py": 60,
    "test_quoting.py": 50,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: two workers then end at about the same time."""
    items.sort(key=lambda item: -_seconds(item.path))


def _seconds(path: Path) -> int:
    return SECONDS.get(path.name, 60 if path.parent.name == "lab" else 0)
