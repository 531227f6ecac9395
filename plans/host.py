"""What a host needs before it can run guests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import HostFacts
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.plans.files import render
from pyinfra_nspawn.plans.plan import FileDiff, Plan, Step, refusal
from pyinfra_nspawn.specs.base import MANAGED
from pyinfra_nspawn.specs.host import STATE_DIRECTORY, SYSCTL_FILE, inotify_instances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
    from pyinfra_nspawn.specs import Guest, HostSettings

# 250 brought id-mapped binds (`--bind=...:idmap`); kernel 5.12 brought id-mapped mounts.
MINIMUM_SYSTEMD = 250
MINIMUM_KERNEL = (5, 12)
# File systems that can be mounted id-mapped, as `stat -f` names them; since which kernel (mount_setattr(2)).
IDMAPPED_FILE_SYSTEMS = {"btrfs": (5, 15), "ext2/ext3": (5, 12), "f2fs": (5, 18), "xfs": (5, 12)}

_CONTAINER_COMMANDS = ("machinectl", "systemd-nspawn")


def preflight(
    settings: HostSettings,
    guests: tuple[Guest, ...],
    host: Host | Unreadable,
    sysroots: HostSysroots | Unreadable,
    *,
    layering: bool,
) -> Plan:
    """List every unmet precondition, each with its remedy.

    + layering: whether a later operation of this run layers systemd-container
    """
    if isinstance(host, Unreadable):
        return refusal("the host", host)
    if isinstance(sysroots, Unreadable):
        return refusal("the host's OSTree sysroots", sysroots)
    there = set(sysroots.guests)
    if not isinstance(sysroots.host, Unreadable):
        there.update(sysroots.host.stateroots)
    missing = [guest for guest in guests if guest.state != "absent" and guest.name not in there]
    private = [guest for guest in guests if guest.isolation == "private-users"]
    refusals = (
        *_booted(host),
        *_installed(settings, host, layering=layering),
        *_versions(host),
        *(_user_namespaces(host) if private or not guests else ()),
        *(_space(settings, host) if missing else ()),
    )
    if isinstance(sysroots.host, Unreadable) and not refusals:
        return refusal("the host's OSTree sysroot", sysroots.host)
    return Plan(refusals=refusals, notes=_pending(sysroots.host))


def _pending(host: Sysroot | Unreadable) -> tuple[str, ...]:
    """Say when the host will boot a guest, or a deployment to whose /etc nothing comes any more.

    /etc is merged when a deployment is made; only that of a staged one is, when the host shuts down
    (ostree-admin-deploy(1), `--stage`).
    """
    if isinstance(host, Unreadable) or not host.booted:
        return ()
    following = host.deployments[0]
    if following.stateroot != host.booted.stateroot:
        sentence = (
            f"the host boots stateroot {following.stateroot} next, not its own: "
            "if that is not meant, run `ostree admin set-default` on it"
        )
        return (sentence,)
    if following.booted or following.staged:
        return ()
    sentence = (
        "the host boots another deployment next, whose /etc was made before this run: "
        "run again once it is booted, to bring it what was changed in the meantime"
    )
    return (sentence,)


def _booted(host: Host) -> Iterator[str]:
    if not host.root:
        yield "pyinfra has no root rights on this host: set `_sudo` to True in the inventory"
    if not host.ostree_booted:
        yield "this host was not booted from OSTree: guests are deployed from an OSTree host's /ostree"


def _installed(settings: HostSettings, host: Host, *, layering: bool) -> Iterator[str]:
    for command in ("ostree", "flock", "unshare"):
        if command not in host.commands:
            yield f"there is no `{command}` command: install the package that has it"
    missing = [command for command in _CONTAINER_COMMANDS if command not in host.commands]
    if missing and not settings.layer_packages:
        yield (
            f"there is no `{missing[0]}` command: run `rpm-ostree install systemd-container` and reboot, "
            "or set `layer_packages` to True in the inventory's `nspawn_host` and run deploys/host.py"
        )
    elif missing and not layering:
        yield f"there is no `{missing[0]}` command: run deploys/host.py, reboot, then run again"


def _versions(host: Host) -> Iterator[str]:
    if host.systemd_version < MINIMUM_SYSTEMD:
        yield f"systemd is {host.systemd_version}: update the host to {MINIMUM_SYSTEMD} or later"
    if host.kernel_version < MINIMUM_KERNEL:
        yield f"the kernel is {host.kernel}: id-mapped mounts need 5.12 or later; update the host"
    if host.cgroup_version != 2:  # noqa: PLR2004
        yield "cgroup v1 is in use: boot the host with `systemd.unified_cgroup_hierarchy=1`"


def _user_namespaces(host: Host) -> Iterator[str]:
    if host.max_user_namespaces == 0:
        yield "user namespaces are forbidden: set the sysctl user.max_user_namespaces above 0"
    needed = IDMAPPED_FILE_SYSTEMS.get(host.state_file_system)
    if needed and MINIMUM_KERNEL <= host.kernel_version < needed:
        yield (
            f"the kernel is {host.kernel}: id-mapped mounts of {host.state_file_system} need "
            f"{needed[0]}.{needed[1]} or later; update the host"
        )
    if needed is None:
        yield (
            f"{STATE_DIRECTORY} lies on {host.state_file_system}, which cannot be mounted id-mapped: "
            f"put it on one of {', '.join(IDMAPPED_FILE_SYSTEMS)}"
        )


def _space(settings: HostSettings, host: Host) -> Iterator[str]:
    free_mib = host.free_bytes // 2**20
    if free_mib < settings.free_mib:
        yield (
            f"{STATE_DIRECTORY} has {free_mib} MiB left, "
            f"and a new guest is made only with {settings.free_mib}: "
            "free some, or lower `free_mib` in the inventory's `nspawn_host`"
        )


def container_package(
    settings: HostSettings, host: Host | Unreadable, sysroots: HostSysroots | Unreadable
) -> Plan:
    """Layer systemd-container with rpm-ostree where it is missing and the inventory asks for it."""
    if isinstance(host, Unreadable):
        return refusal("the host", host)
    if all(command in host.commands for command in _CONTAINER_COMMANDS):
        return Plan()
    if not settings.layer_packages:
        return Plan(refusals=tuple(_installed(settings, host, layering=True)))
    if "rpm-ostree" not in host.commands:
        return Plan(refusals=("there is no rpm-ostree here to layer systemd-container: install it by hand",))
    if isinstance(sysroots, Unreadable):
        return refusal("the host's OSTree sysroots", sysroots)
    if isinstance(sysroots.host, Unreadable):
        return refusal("the host's OSTree sysroot", sysroots.host)
    if any("systemd-container" in item.packages for item in sysroots.host.deployments):
        return Plan(refusals=("systemd-container is layered but not booted: reboot, then run again",))
    return Plan(
        steps=(
            Step(
                "layer systemd-container with rpm-ostree; a reboot will be due",
                "layer",
                changes=(HostFacts, Sysroots),
            ),
        )
    )


def machines_target(host: Host | Unreadable) -> Plan:
    """Enable machines.target, which starts the guests with the host."""
    if isinstance(host, Unreadable):
        return refusal("the host", host)
    if host.machines_target == "enabled":
        return Plan()
    return Plan(steps=(Step("enable machines.target", "machines-target", changes=()),))


def inotify(guests: tuple[Guest, ...], host: Host | Unreadable) -> Plan:
    """Raise the host's limit of inotify instances to what its guests need; never lower it."""
    if isinstance(host, Unreadable):
        return refusal("the host", host)
    if host.sysctl_file is not None and MANAGED not in host.sysctl_file.splitlines():
        return Plan(refusals=(f"{SYSCTL_FILE} is not ours: move it away, then run again",))
    needed = inotify_instances(sum(guest.state != "absent" for guest in guests))
    match = re.search(r"(?m)^fs\.inotify\.max_user_instances *= *(\d+)$", host.sysctl_file or "")
    configured = int(match[1]) if match else 0
    if min(configured, host.inotify_instances) >= needed:
        return Plan()
    value = max(needed, configured, host.inotify_instances)
    content = render("sysctl.conf.j2", instances=value)
    return Plan(
        steps=(
            Step(
                f"set fs.inotify.max_user_instances to {value} (it is {host.inotify_instances})",
                "sysctl",
                (SYSCTL_FILE, str(value)),
                content,
                changes=(),
            ),
        ),
        diffs=(
            FileDiff(
                SYSCTL_FILE,
                tuple((host.sysctl_file or "").splitlines()),
                tuple(content.splitlines()),
            ),
        ),
    )


def selinux(settings: HostSettings, host: Host | Unreadable) -> Plan:
    """Set SELinux's mode, now and for the next boot; without a wish leave it as it is."""
    if isinstance(host, Unreadable):
        return refusal("the host", host)
    wanted = settings.selinux
    if wanted is None or wanted == host.selinux == host.selinux_configured:
        return Plan()
    if host.selinux == "disabled":
        return Plan(
            refusals=(
                (
                    f"SELinux is disabled here and cannot be made {wanted} at run time: remove `selinux` "
                    "from the inventory's `nspawn_host`, or boot the host with SELinux"
                ),
            )
        )
    return Plan(
        steps=(
            Step(
                f"make SELinux {wanted}, now and at the next boot", "selinux", (wanted,), changes=(HostFacts,)
            ),
        )
    )
