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

# A test that hangs fails by name; the slowest takes two minutes. Not an option in pyproject.toml: the extra
# `verify`, to check a fleet from a clone, brings no pytest-timeout.
os.environ.setdefault("PYTEST_TIMEOUT", "900")

# pyinfra's command line makes every thread a greenlet when it is imported. Tests only take a helper from it,
# and a worker of pytest-xdist dies of that.
with mock.patch("gevent.monkey.patch_all"):
    import pyinfra_cli  # noqa: F401

#: About how long a file takes, in seconds: estimates, as only their order matters. A lab file that is not
#: listed counts as one of half a minute, any other as one of no time.
SECONDS = {
    "lab/test_nodes.py": 350,
    "lab/test_upgrade.py": 330,
    "lab/test_backup.py": 90,
    "lab/test_backup_killed.py": 85,
    "lab/test_bookworm.py": 200,
    "lab/test_paths_opened.py": 100,
    "host/test_archives.py": 190,
    "host/test_killed.py": 330,
    "lab/test_unfit.py": 210,
    "lab/test_network_reverts.py": 210,
    "lab/test_moves.py": 190,
    "host/test_upgrade_verbs.py": 190,
    "lab/test_killed.py": 140,
    "lab/test_upgrade_killed.py": 130,
    "lab/test_network.py": 130,
    "host/test_verbs.py": 100,
    "lab/test_kinds.py": 100,
    "lab/test_drift.py": 85,
    "lab/test_verify.py": 100,
    "lab/test_hostile_words.py": 80,
    "lab/test_shared.py": 80,
    "lab/test_main_job.py": 80,
    "lab/test_network_guests.py": 60,
    "lab/test_network_article.py": 45,
    "lab/test_network_addresses.py": 45,
    "lab/test_releases.py": 120,
    "lab/test_thirty.py": 70,
    "lab/test_remotes.py": 60,
    "lab/test_connector.py": 70,
    "lab/test_way_back.py": 70,
    "lab/test_ready.py": 60,
    "lab/test_removal.py": 60,
    "lab/test_logins.py": 60,
    "lab/test_health.py": 50,
    "lab/test_given.py": 45,
    "lab/test_hostile.py": 45,
    "host/test_record.py": 45,
    "lab/test_foreign.py": 40,
    "lab/test_history.py": 40,
    "lab/test_host_life.py": 40,
    "host/test_hostile.py": 30,
    "unit/test_cli.py": 40,
    "unit/test_fake_fleet.py": 20,
    "unit/test_quoting.py": 20,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: two workers then end at about the same time."""
    items.sort(key=lambda item: -_seconds(item.path))


def _seconds(path: Path) -> int:
    return SECONDS.get(f"{path.parent.name}/{path.name}", 30 if path.parent.name == "lab" else 0)
