"""Operations that make a host fit for guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.facts.host import HostFacts
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.operations._run import carry_out, seen
from pyinfra_nspawn.plans import host as plans

if TYPE_CHECKING:
    from pyinfra_nspawn.operations._run import Commands
    from pyinfra_nspawn.specs import Guest, HostSettings


@operation()
def preflight(settings: HostSettings, guests: tuple[Guest, ...], layering: bool = False) -> Commands:
    """Check every precondition of a host, and refuse it with one list of what is unmet.

    + settings: the inventory's `nspawn_host`
    + guests: all guests that the host is to have
    + layering: whether a later operation of this run layers systemd-container

    Changes nothing. Each unmet precondition is a sentence that names its remedy; the host then fails.
    """
    plan = plans.preflight(settings, guests, seen(HostFacts), seen(Sysroots), layering=layering)
    yield from carry_out(plan, "every precondition is met")


@operation()
def container_package(settings: HostSettings) -> Commands:
    """Have systemd-container, where the inventory asks for it by layering it with rpm-ostree.

    + settings: the inventory's `nspawn_host`

    After layering, and until it is booted, the host fails with 'reboot, then run again'.
    """
    plan = plans.container_package(settings, seen(HostFacts), seen(Sysroots))
    yield from carry_out(plan, "systemd-container is installed")


@operation()
def machines_target() -> Commands:
    """Enable machines.target, so that enabled guests start with the host.

    pyinfra's own `systemd.service` takes a target for stopped, and would start it in every run.
    """
    yield from carry_out(plans.machines_target(seen(HostFacts)), "machines.target is enabled")


@operation()
def inotify(guests: tuple[Guest, ...]) -> Commands:
    """Have enough inotify instances for the guests: at least 128 + 16 a guest, now and at boot.

    + guests: all guests that the host is to have

    Never lowers the limit. The value for the next boot is in /etc/sysctl.d/60-pyinfra-nspawn.conf.
    """
    yield from carry_out(plans.inotify(guests, seen(HostFacts)), "the limit is high enough")


@operation()
def selinux(settings: HostSettings) -> Commands:
    """Set SELinux's mode, now and across reboots; without `selinux` in `settings` leave it.

    + settings: the inventory's `nspawn_host`

    Proven with recorded answers only.
    """
    yield from carry_out(plans.selinux(settings, seen(HostFacts)), "SELinux is as wanted")
