"""Back up a guest: one archive of its /etc and /var, and of what the host and the inventory know of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.health import files_to_look_for
from pyinfra_nspawn.plans.step import Archiving, Step, encoded, payload_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.guest import Stage
    from pyinfra_nspawn.specs import Guest


def backup_with(origin: str, *, key: str = "", copied_to: str = "") -> Stage:
    """Return the stage `backup` of one try of a run.

    + origin: the host, by its name in the inventory
    + key: what archives are encrypted to; empty for none
    + copied_to: a directory of the controller that each archive is copied to; empty for none
    """
    latest: dict[str, str] = {}  # before; a guest that has a later archive is backed up already

    def backup(comparison: Comparison) -> Iterator[Step | Finding]:
        """Stop the guest while its files are read, or copied where they can share blocks."""
        guest, seen = comparison.guest, comparison.seen
        newest = seen.backups[-1].file if seen.backups else ""
        if newest != latest.setdefault(guest.name, newest):
            return
        if errors := tuple(_refusals(comparison, key)):
            raise Refused(*errors)
        manifest = f"origin {origin}\nsource {guest.source}\n"
        lines = [
            f"manifest {encoded(manifest)}",
            f"json {encoded(json.dumps(guest.to_json(), indent=1))}",
            *([f"key {encoded(key)}"] if key else []),
        ]
        read = "read its /etc and /var"
        how = f"stop it, {read}, start it again" if _runs(comparison) else read
        yield from _undrained(comparison)
        yield Step(
            f"back up guest {guest.name}: {how}{f'; copy it to {copied_to}' if copied_to else ''}",
            "backup",
            guest.name,
            (str(guest.start_timeout_seconds), str(guest.backups), files_to_look_for(guest)),
            payload_of(lines),
            program=True,
            archiving=Archiving(copied_to, _cluster(guest)),
        )

    return backup


def _runs(comparison: Comparison) -> bool:
    unit = comparison.seen.unit
    return unit is not None and unit.active


def _cluster(guest: Guest) -> str:
    """Return the cluster that a guest is a server of; empty for any other guest."""
    is_server = guest.k3s and guest.k3s.binary and guest.k3s.role == "server"
    return guest.k3s.cluster if guest.k3s and is_server else ""


def _refusals(comparison: Comparison, key: str) -> Iterator[Finding]:
    host, seen, current = comparison.snapshot.host, comparison.seen, comparison.current
    if current is None:
        problem = "there is nothing to back up: it is not deployed"
        yield _impossible(comparison, "current", problem, "Run deploys/guest.py first.")
        return
    deployment = seen.machine.deployment if seen.machine else None
    if _runs(comparison) and (comparison.outdated or deployment not in (None, current.id)):
        problem = (
            "a backup restarts it, and it would start with another definition or deployment than it runs"
        )
        yield _impossible(comparison, "definition", problem, "Run deploys/guest.py first, or restart it.")
    encryptor = "" if not key else "age" if key.startswith(("age1", "ssh-")) else "gpg"
    if encryptor and isinstance(host, Host) and encryptor not in host.commands:
        problem = f"the host has no {encryptor} to encrypt the archive with"
        yield _impossible(comparison, "backup_key", problem, "Install it, or remove `backup_key`.")


def _undrained(comparison: Comparison) -> Iterator[Finding]:
    """Yield a note about a node of a cluster: its pods stop with its guest."""
    k3s = comparison.guest.k3s
    if k3s and k3s.binary and _runs(comparison):
        problem = "its pods stop with it: they are not moved to other nodes before"
        hint = 'Run "kubectl drain" before, and "kubectl uncordon" after.'
        yield replace(_impossible(comparison, "k3s", problem, hint), severity="note")


def _impossible(comparison: Comparison, field: str, problem: str, hint: str) -> Finding:
    name = comparison.guest.name
    return Finding("impossible", problem, hint, guest=name, field=field, severity="error")
