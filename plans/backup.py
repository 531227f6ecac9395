"""Back up a guest: one archive of its /etc and /var, and of what the host and the inventory know of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.health import files_to_look_for
from pyinfra_nspawn.plans.step import Step, encoded, payload_of

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.guest import Stage


def backup_with(
    origin: str, latest: MutableMapping[str, str], *, key: str = "", copied_to: str = ""
) -> Stage:
    """Return the stage `backup` of a run.

    + origin: the host, by its name in the inventory
    + latest: the latest archive of each guest before this run; filled at its first plan. A guest that has a
      later one is backed up already
    + key: what archives are encrypted to; empty for none
    + copied_to: a directory of the controller that each archive is copied to; empty for none
    """

    def backup(comparison: Comparison) -> Iterator[Step | Finding]:
        """Stop the guest while its files are read, or copied where they can share blocks."""
        guest, seen = comparison.guest, comparison.seen
        newest = seen.backups[-1].file if seen.backups else ""
        if newest != latest.setdefault(guest.name, newest):
            return
        if comparison.current is None:
            raise Refused(_nothing(comparison))
        running = seen.unit is not None and seen.unit.active
        how = "stop it, read its /etc and /var, start it again" if running else "read its /etc and /var"
        manifest = f"origin {origin}\nsource {guest.source}\n"
        lines = [
            f"manifest {encoded(manifest)}",
            f"json {encoded(json.dumps(guest.to_json(), indent=1))}",
            *([f"key {encoded(key)}"] if key else []),
        ]
        yield Step(
            f"back up guest {guest.name}: {how}{f'; copy it to {copied_to}' if copied_to else ''}",
            "backup",
            guest.name,
            (str(guest.start_timeout_seconds), str(guest.backups), files_to_look_for(guest)),
            payload_of(lines),
            program=True,
            copied_to=copied_to or None,
        )

    return backup


def _nothing(comparison: Comparison) -> Finding:
    return Finding(
        "impossible",
        "there is nothing to back up: it is not deployed",
        "Run deploys/guest.py first.",
        guest=comparison.guest.name,
        field="current",
        severity="error",
    )
