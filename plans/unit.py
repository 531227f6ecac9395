"""Whether a guest's unit starts with the host, and whether the guest runs as it is defined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.plans.plan import Plan, Step, refusal
from pyinfra_nspawn.plans.rendered import define

if TYPE_CHECKING:
    from pyinfra_nspawn.specs import Guest


def unit(guest: Guest, guests: dict[str, GuestSeen] | Unreadable) -> Plan:
    """Enable or disable the guest's unit; start, restart, await or stop the guest."""
    if isinstance(guests, Unreadable):
        return refusal("the host's guests", guests)
    seen = guests.get(guest.name, GuestSeen())
    enabled = seen.unit is not None and seen.unit.enabled
    enablement = "" if enabled == guest.autostart else "enable" if guest.autostart else "disable"
    outdated = _outdated(guest, seen)
    action = _action(guest, seen, outdated=bool(outdated))
    degraded = _degraded(guest, seen)
    if degraded and guest.on_degraded == "fail" and not (enablement or action):
        return Plan(refusals=(f"{degraded}; mend it in the guest, or set `on_degraded` to 'report'",))
    notes = tuple(note for note in (degraded, outdated if action != "restart" else "") if note)
    if not (enablement or action):
        return Plan(notes=notes)
    step = Step(
        _sentence(guest, enablement, action, outdated if action == "restart" else ""),
        "unit",
        (
            guest.name,
            enablement,
            action,
            str(guest.start_timeout_seconds),
            define(guest).digest,
            guest.on_degraded,
        ),
        changes=(Guests,),
        guest=guest.name,
    )
    return Plan(steps=(step,), notes=notes)


def _action(guest: Guest, seen: GuestSeen, *, outdated: bool) -> str:
    """Return `start`, `restart`, `await` or `stop`; empty when the guest is as it should be."""
    active = seen.unit is not None and seen.unit.active
    if guest.state == "stopped":
        return "stop" if active else ""
    if not active:
        return "start"
    if outdated and guest.on_change == "restart":
        return "restart"
    state = seen.machine.system_state if seen.machine else ""
    return "" if state in ("running", "degraded") else "await"


def _outdated(guest: Guest, seen: GuestSeen) -> str:
    """Say in what a running guest differs from its definition; empty when in nothing."""
    if seen.unit is None or not seen.unit.active:
        return ""
    if seen.unit.definition != define(guest).digest:
        return f"guest {guest.name} runs with another definition than it has now"
    booted = seen.machine.deployment if seen.machine else None
    if booted and seen.current_deployment and booted != seen.current_deployment:
        return f"guest {guest.name} runs deployment {booted[:12]}, not the one it has now"
    return ""


def _degraded(guest: Guest, seen: GuestSeen) -> str:
    if guest.state == "stopped" or seen.machine is None or seen.machine.system_state != "degraded":
        return ""
    return f"guest {guest.name} is degraded: {', '.join(seen.machine.failed_units)} failed"


def _sentence(guest: Guest, enablement: str, action: str, reason: str) -> str:
    wait = f" and wait up to {guest.start_timeout_seconds} s until it is running"
    verbs = {
        "": "",
        "start": f"start guest {guest.name}{wait}",
        "restart": f"restart guest {guest.name}{wait} ({reason})",
        "await": f"wait up to {guest.start_timeout_seconds} s until guest {guest.name} is running",
        "stop": f"stop guest {guest.name}",
    }
    parts = [f"{enablement} {guest.unit}" if enablement else "", verbs[action]]
    return "; ".join(part for part in parts if part)
