"""Whether a host can run guests at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.specs.host import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.ostree import Sysroot
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.plans.step import Step

STATE_VERSION = 1
"""Of what is kept on a host; a host with a later one is refused."""
# 250 brought id-mapped binds (`--bind=...:idmap`); kernel 5.12 brought id-mapped mounts.
MINIMUM_SYSTEMD = 250
MINIMUM_KERNEL = (5, 12)
# File systems that can be mounted id-mapped, as `stat -f` names them; since which kernel (mount_setattr(2)).
IDMAPPED_FILE_SYSTEMS = {"btrfs": (5, 15), "ext2/ext3": (5, 12), "f2fs": (5, 18), "xfs": (5, 12)}
CONTAINER_COMMANDS = ("machinectl", "systemd-nspawn")


def preflight(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Yield an error for every unmet precondition, and notes about what the host boots next."""
    host = comparison.host
    private = [guest for guest in comparison.guests if guest.isolation == "private-users"]
    errors = [
        *newer_state(comparison.snapshot),
        *_rights(host),
        *_installed(comparison),
        *_versions(host),
        *(_user_namespaces(host) if private or not comparison.guests else ()),
        *_space(comparison),
    ]
    yield from errors
    # What an unfit host says of its sysroot follows from that.
    if not errors:
        yield from _boots_next(comparison.sysroot)


def unfit(field: str, problem: str, hint: str, *, wanted: str = "", seen: str = "") -> Finding:
    """Return the error that a host lacks what guests need."""
    return Finding("unfit", problem, hint, field=field, wanted=wanted, seen=seen, severity="error")


def newer_state(snapshot: Snapshot, guest: str = "") -> Iterator[Finding]:
    """Yield an error for a host with the state of a later version of this package.

    + guest: whose finding it is; the host's by default
    """
    host = snapshot.host
    if isinstance(host, Host) and host.state_version > STATE_VERSION:
        yield Finding(
            "unfit",
            f"{STATE_DIRECTORY} was made by a newer version of pyinfra-nspawn",
            "Upgrade pyinfra-nspawn on this controller.",
            guest=guest,
            field="state_version",
            wanted=f"at most {STATE_VERSION}",
            seen=str(host.state_version),
            severity="error",
        )


def _rights(host: Host) -> Iterator[Finding]:
    if not host.root:
        yield unfit("root", "pyinfra has no root rights on this host", "Set `_sudo` in the inventory.")
    if not host.ostree_booted:
        problem = "this host was not booted from OSTree"
        yield unfit("ostree_booted", problem, "Use an OSTree host: guests are deployed from its /ostree.")


def _installed(comparison: HostComparison) -> Iterator[Finding]:
    for command in ("ostree", "flock", "unshare"):
        if command not in comparison.host.commands:
            problem = f"command `{command}` is missing"
            yield unfit(f"commands.{command}", problem, "Install the package that has it.", wanted=command)
    if not comparison.layering:
        yield from missing_container(comparison)


def missing_container(comparison: HostComparison) -> Iterator[Finding]:
    """Yield an error for the first command of systemd-container that is missing."""
    missing = [name for name in CONTAINER_COMMANDS if name not in comparison.host.commands]
    if missing:
        hint = "Install systemd-container, or set `layer_packages` in the inventory's `nspawn_host`."
        if comparison.settings.layer_packages:
            hint = "Run deploys/host.py, reboot the host, then run again."
        problem = f"command `{missing[0]}` is missing"
        yield unfit(f"commands.{missing[0]}", problem, hint, wanted=missing[0])


def _versions(host: Host) -> Iterator[Finding]:
    if host.systemd_version < MINIMUM_SYSTEMD:
        yield unfit(
            "systemd_version",
            f"systemd is {host.systemd_version}",
            f"Update the host to systemd {MINIMUM_SYSTEMD} or later.",
            wanted=str(MINIMUM_SYSTEMD),
            seen=str(host.systemd_version),
        )
    if host.kernel_version < MINIMUM_KERNEL:
        yield _kernel(host, "id-mapped mounts", MINIMUM_KERNEL)
    if host.cgroup_version != 2:  # noqa: PLR2004
        yield unfit(
            "cgroup_version",
            "cgroup v1 is in use",
            "Boot the host with `systemd.unified_cgroup_hierarchy=1`.",
            wanted="2",
            seen=str(host.cgroup_version),
        )


def _kernel(host: Host, what: str, needed: tuple[int, int]) -> Finding:
    version = f"{needed[0]}.{needed[1]}"
    problem = f"the kernel is {host.kernel}, and {what} need {version}"
    return unfit("kernel", problem, "Update the host.", wanted=version, seen=host.kernel)


def _user_namespaces(host: Host) -> Iterator[Finding]:
    if host.max_user_namespaces == 0:
        yield unfit(
            "max_user_namespaces",
            "user namespaces are forbidden",
            "Set the sysctl user.max_user_namespaces above 0.",
            wanted="1",
            seen="0",
        )
    needed = IDMAPPED_FILE_SYSTEMS.get(host.state_file_system)
    if needed and MINIMUM_KERNEL <= host.kernel_version < needed:
        yield _kernel(host, f"id-mapped mounts of {host.state_file_system}", needed)
    if needed is None:
        yield unfit(
            "state_file_system",
            f"{STATE_DIRECTORY} lies on {host.state_file_system}, which cannot be mounted id-mapped",
            f"Put it on one of {', '.join(IDMAPPED_FILE_SYSTEMS)}.",
            wanted=", ".join(IDMAPPED_FILE_SYSTEMS),
            seen=host.state_file_system,
        )


def _space(comparison: HostComparison) -> Iterator[Finding]:
    wanted, free = comparison.settings.free_mib, comparison.host.free_bytes // 2**20
    if free < wanted and comparison.missing:
        yield unfit(
            "free_bytes",
            f"{STATE_DIRECTORY} has {free} MiB left, and a new guest needs {wanted}",
            "Free some, or lower `free_mib` in the inventory's `nspawn_host`.",
            wanted=f"{wanted} MiB",
            seen=f"{free} MiB",
        )


def _boots_next(host: Sysroot) -> Iterator[Finding]:
    """Yield notes about ostree's complaint, and about a deployment that the host boots next.

    /etc is merged when a deployment is made; only that of a staged one is, when the host shuts down
    (ostree-admin-deploy(1), `--stage`).
    """
    if host.complaint:
        problem = f"ostree complains of the host's deployments: {host.complaint}"
        hint = 'Run "ostree admin status" on the host.'
        yield Finding("unreadable", problem, hint, field="deployments", seen=host.complaint, severity="note")
    if not host.booted:
        return
    following = host.deployments[0]
    if following.stateroot != host.booted.stateroot:
        problem = f"the host boots stateroot {following.stateroot} next, not its own"
        hint = 'Run "ostree admin set-default" on the host, unless you mean it.'
    elif following.booted or following.staged:
        return
    else:
        problem = "the host boots another deployment next, whose /etc was made before this run"
        hint = "Run again once it is booted: it lacks what this run writes to /etc."
    yield Finding(
        "boot-order",
        problem,
        hint,
        field="deployments",
        wanted=host.booted.id,
        seen=following.id,
        severity="note",
    )
