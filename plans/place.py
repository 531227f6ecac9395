"""Where a guest's stateroot lies: in an OSTree sysroot of its own, or in the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.move import move
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def stateroot(comparison: Comparison) -> Iterator[Step | Finding]:
    """Make the guest's stateroot, or move the guest to where it is wanted."""
    guest = comparison.guest
    if guest.sysroot == "shared" and comparison.host.fallback:
        yield _falls_back(comparison)
    yield from _complaint(comparison)
    if comparison.other is not None:
        yield from move(comparison)
    elif comparison.own is None:
        shared = guest.sysroot == "shared"
        text = f"make the OSTree sysroot {comparison.layout.directory} with stateroot {guest.name}"
        if shared:
            text = f"make stateroot {guest.name} in the host's /ostree"
        yield Finding(
            "missing",
            "it has no stateroot",
            guest=guest.name,
            field="stateroot",
            wanted=comparison.layout.stateroot,
        )
        yield Step(text, "stateroot", guest.name, (guest.sysroot,), sysroot=shared)


def _falls_back(comparison: Comparison) -> Finding:
    """Refuse a guest in the boot list of a host that boots the second entry when the first fails."""
    fallback = comparison.host.fallback
    return Finding(
        "unfit",
        f"{fallback} falls back to the host's second boot entry, which would be the guest's",
        "Set the guest's `sysroot` to 'private'.",
        guest=comparison.guest.name,
        field="sysroot",
        wanted="shared",
        seen=fallback,
        severity="error",
    )


def _complaint(comparison: Comparison) -> Iterator[Finding]:
    private = comparison.private
    if private and private.complaint:
        yield Finding(
            "unreadable",
            f"ostree complains of the guest's deployments: {private.complaint}",
            f'Run "ostree admin --sysroot={comparison.layout.directory} status" on the host.',
            guest=comparison.guest.name,
            field="deployments",
            seen=private.complaint,
            severity="note",
        )
