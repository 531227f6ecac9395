"""What a snapshot says of a host and of one of its guests, in the words of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.ostree import Deployment
    from pyinfra_nspawn.facts.snapshot import Snapshot


def booted_by_host(snapshot: Snapshot) -> Deployment | None:
    """Return the deployment that the host is booted from; None where that is not known."""
    sysroots = snapshot.sysroots
    host = sysroots.host if isinstance(sysroots, HostSysroots) else None
    return host.booted if isinstance(host, Sysroot) else None


def booted_by_guest(guest: str, snapshot: Snapshot) -> Deployment | None:
    """Return the deployment that a guest's `current` points at; None where that is not known."""
    seen = snapshot.guests.get(guest) if isinstance(snapshot.guests, dict) else None
    if not isinstance(seen, GuestSeen):
        return None
    found = deployments_of(guest, snapshot)
    return next((item for item in found if item.id == seen.current_deployment), None)


def deployments_of(guest: str, snapshot: Snapshot) -> tuple[Deployment, ...]:
    """Return the deployments of a guest's stateroot, in its own sysroot and in the host's."""
    sysroots = snapshot.sysroots
    if not isinstance(sysroots, HostSysroots):
        return ()
    both = (sysroots.guests.get(guest), sysroots.host)
    found = [sysroot for sysroot in both if isinstance(sysroot, Sysroot)]
    return tuple(item for sysroot in found for item in sysroot.of_stateroot(guest))


def state_of(guest: str, snapshot: Snapshot) -> str:
    """Return a guest's state: what its systemd says, else its host's; `unknown` where neither did."""
    seen = snapshot.guests.get(guest) if isinstance(snapshot.guests, dict) else None
    if not isinstance(seen, GuestSeen):
        return "unknown"
    if seen.machine:
        return seen.machine.system_state or "starting"
    if seen.unit and seen.unit.active:
        return "starting"
    if seen.unit and seen.unit.active_state == "failed":
        return "failed"
    return "stopped" if seen.current else "absent"
