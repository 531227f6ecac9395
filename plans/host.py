"""What a host gets before it runs guests: each concern, and the one place where a refusal ends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.decommission import bridge_is_gone, guests_may_go, own_files
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.firewall import firewall
from pyinfra_nspawn.plans.foreign import is_managed
from pyinfra_nspawn.plans.k3s import k3s_host
from pyinfra_nspawn.plans.k3s_store import k3s_prune
from pyinfra_nspawn.plans.links import guest_links
from pyinfra_nspawn.plans.network import network
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preflight import CONTAINER_COMMANDS, missing_container, preflight, unfit
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.remotes import remotes
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import FileDiff, Step
from pyinfra_nspawn.specs.host import SYSCTL_FILE, inotify_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.facts.host import Denial, Host
    from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.specs import Guest, HostSettings


@dataclass(frozen=True)
class HostComparison:
    """What every concern looks at; what could not be read raises `Refused` when it is asked for.

    + settings: the inventory's `nspawn_host`
    + guests: all guests that the host is wanted to have
    + snapshot: the host as it was seen
    + layering: whether the same plan layers systemd-container where it is missing
    """

    settings: HostSettings
    guests: Sequence[Guest]
    snapshot: Snapshot
    layering: bool = False

    @cached_property
    def host(self) -> Host:
        """The host itself."""
        return readable("the host", self.snapshot.host)

    @cached_property
    def sysroots(self) -> HostSysroots:
        """All sysroots of the host."""
        return readable("the host's OSTree sysroots", self.snapshot.sysroots)

    @cached_property
    def sysroot(self) -> Sysroot:
        """The host's own sysroot."""
        return readable("the host's OSTree sysroot", self.sysroots.host)

    @cached_property
    def missing(self) -> list[str]:
        """The guests that are wanted and have no stateroot; none where that is unknown."""
        sysroots = self.snapshot.sysroots
        if isinstance(sysroots, Unreadable) or isinstance(self.snapshot.guests, Unreadable):
            return []
        shared = () if isinstance(sysroots.host, Unreadable) else sysroots.host.stateroots
        existing = {*sysroots.guests, *shared}
        wanted = [guest.name for guest in self.guests if guest.state != "absent"]
        return [name for name in wanted if name not in existing]


Concern = Callable[[HostComparison], Iterator[Step | Finding]]


def plan_host(
    settings: HostSettings, guests: Sequence[Guest], snapshot: Snapshot, concerns: Sequence[Concern]
) -> Plan:
    """Return what these concerns find and do on a host; nothing is done on one that is refused.

    + settings: the inventory's `nspawn_host`
    + guests: all guests that the host is wanted to have
    + concerns: those of `CONCERNS` to plan
    """
    comparison = HostComparison(settings, guests, snapshot, layering=container_package in concerns)
    found: list[Step | Finding] = []
    try:
        for concern in concerns:
            found.extend(concern(comparison))
    except Refused as refused:
        found.extend(refused.findings)
    return Plan.of("", found)


def container_package(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Layer systemd-container with rpm-ostree where it is missing and the inventory asks for it."""
    commands = comparison.host.commands
    if all(command in commands for command in CONTAINER_COMMANDS):
        return
    field = f"commands.{CONTAINER_COMMANDS[0]}"
    if not comparison.settings.layer_packages:
        yield from missing_container(comparison)
    elif "rpm-ostree" not in commands:
        problem = "rpm-ostree is missing, and systemd-container cannot be layered without it"
        yield unfit(field, problem, "Install systemd-container on the host by hand.")
    elif any("systemd-container" in item.packages for item in comparison.sysroot.deployments):
        problem = "systemd-container is layered but not booted"
        yield unfit(field, problem, "Reboot the host, then run again.")
    else:
        yield Finding(
            "missing", "systemd-container is not installed", field=field, wanted="systemd-container"
        )
        text = "layer systemd-container with rpm-ostree; the host needs a reboot then"
        yield Step(text, "layer", sysroot=True)


def machines_target(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Enable machines.target, which starts the guests with the host."""
    seen = comparison.host.machines_target
    if seen != "enabled":
        yield Finding(
            "differs",
            "machines.target is not enabled",
            field="machines_target",
            wanted="enabled",
            seen=seen,
        )
        yield Step("enable machines.target", "machines-target")


def inotify(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Raise the host's limit of inotify instances to what its guests need; never lower it."""
    host = comparison.host
    before = host.sysctl_file or ""
    if host.sysctl_file is not None and not is_managed(before):
        problem = f"{SYSCTL_FILE} is not ours"
        yield Finding(
            "foreign", problem, "Move it away, then run again.", field=SYSCTL_FILE, severity="error"
        )
        return
    needed = inotify_instances(sum(guest.state != "absent" for guest in comparison.guests))
    match = re.search(r"(?m)^fs\.inotify\.max_user_instances *= *(\d+)$", before)
    configured = int(match[1]) if match else 0
    if min(configured, host.inotify_instances) >= needed:
        return
    value = str(max(needed, configured, host.inotify_instances))
    content = render("sysctl.conf.j2", instances=value)
    yield Finding(
        "differs",
        f"fs.inotify.max_user_instances is {host.inotify_instances} now and {configured or 'unset'} at boot",
        field="inotify_instances",
        wanted=value,
        seen=str(host.inotify_instances),
    )
    yield Step(
        f"set fs.inotify.max_user_instances to {value} (it is {host.inotify_instances})",
        "sysctl",
        arguments=(SYSCTL_FILE, value),
        payload=content,
        diffs=(FileDiff(SYSCTL_FILE, tuple(before.splitlines()), tuple(content.splitlines())),),
    )


def selinux(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Set SELinux's mode, now and for the next boot, where the inventory names one; report its denials."""
    wanted, host = comparison.settings.selinux, comparison.host
    if wanted != "permissive":  # then nothing is denied
        yield from denials(host)
    if wanted is None or wanted == host.selinux == host.selinux_configured:
        return
    if host.selinux == "disabled":
        yield unfit(
            "selinux",
            f"SELinux is disabled, and cannot be made {wanted} without a reboot",
            "Remove `selinux` from the inventory's `nspawn_host`, or boot the host with SELinux.",
            wanted=wanted,
            seen=host.selinux,
        )
        return
    configured = host.selinux_configured or "not configured"
    problem = f"SELinux is {host.selinux} now and {configured} at boot"
    yield Finding("differs", problem, field="selinux", wanted=wanted, seen=host.selinux)
    yield Step(f"make SELinux {wanted}, now and at the next boot", "selinux", arguments=(wanted,))


def denials(host: Host) -> Iterator[Finding]:
    """Yield a note for each domain that SELinux has denied what guests need.

    No step follows: what a host's policy allows is not for its guests' inventory to say, but for the whole
    mode. The hint has what may be done in the order in which to try it: the least is given away first.
    """
    for source in dict.fromkeys(denial.source for denial in host.denials):
        first, *more = dict.fromkeys(_denied(denial) for denial in host.denials if denial.source == source)
        problem = f"SELinux denies {source} {first}{f', and {len(more)} more' if more else ''}"
        hint = (
            "Update selinux-policy, else allow it in a module, else "
            f'"semanage permissive -a {source}", else set `selinux: permissive`.'
        )
        yield Finding(
            "unfit", problem, hint, field="selinux", seen="; ".join([first, *more]), severity="note"
        )


def _denied(denial: Denial) -> str:
    return f"{' '.join(denial.permissions)} of {denial.target}:{denial.target_class}"


CONCERNS: tuple[Concern, ...] = (
    preflight,
    container_package,
    machines_target,
    inotify,
    remotes,
    k3s_host,
    k3s_prune,
    selinux,
    guest_links,
    firewall,
)
"""All concerns of a host that runs guests, in order."""


def concerns_of(settings: HostSettings) -> tuple[Concern, ...]:
    """Return all concerns of a host that runs guests, or of one that is decommissioned."""
    return CONCERNS if settings.state == "present" else (preflight, guests_may_go, bridge_is_gone, own_files)


def all_concerns_of(settings: HostSettings) -> tuple[Concern, ...]:
    """Return what a report looks at: the concerns of a host, and its network."""
    return (*concerns_of(settings), *([network] if settings.state == "present" else []))
