"""Hosts and guests as they are seen, for the tests of plans."""

from dataclasses import replace

from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine, Unit
from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.specs import Guest

OLD, NEW = "a" * 64, "b" * 64

HOST = Host(
    root=True,
    ostree_booted=True,
    kernel="6.12.1",
    commands=("flock", "machinectl", "ostree", "systemd-nspawn", "unshare"),
    systemd_version=257,
    ostree_version="2025.2",
    cgroup_version=2,
    sysroot_read_only=True,
    state_file_system="xfs",
    free_bytes=2**40,
    max_user_namespaces=1000,
    inotify_instances=128,
    sysctl_file=None,
    selinux="enforcing",
    selinux_configured="enforcing",
    machines_target="disabled",
)


def guest(**fields: object) -> Guest:
    return Guest.of({"name": "web", **fields}, "test")


def deployment(checksum: str, stateroot: str = "web", **fields: object) -> Deployment:
    return replace(Deployment(0, stateroot, checksum, 0), **fields)


def host_sysroot(**fields: object) -> Sysroot:
    booted = deployment(OLD, "fedora", booted=True)
    sysroot = Sysroot((booted,), ("fedora",), {"fedora:iot": NEW, "local": NEW}, {"fedora": "https://x"})
    return replace(sysroot, **fields)


def sysroots(own: Sysroot | None = None, host: Sysroot | None = None) -> HostSysroots:
    return HostSysroots(host or host_sysroot(), {"web": own} if own else {})


def own(*checksums: str) -> Sysroot:
    return Sysroot(tuple(deployment(checksum) for checksum in checksums), ("web",))


def current(checksum: str) -> str:
    return f"ostree/deploy/web/deploy/{checksum}.0"


UNIT = Unit(
    load_state="loaded",
    unit_file_state="enabled",
    active_state="active",
    sub_state="running",
    result="success",
    need_daemon_reload=False,
    fragment_path="/usr/lib/systemd/system/systemd-nspawn@.service",
)


def running(wanted: Guest, **unit: object) -> GuestSeen:
    """Return the guest as a host has it when nothing is left to do."""
    definition = define(wanted)
    return GuestSeen(
        unit=replace(UNIT, **{"definition": definition.digest, **unit}),
        machine=Machine(unit=wanted.unit, leader=2, system_state="running", deployment=f"{OLD}.0"),
        directory="700 0:0",
        current=current(OLD),
        files={path: FileSeen(text, "644") for path, text in definition.files.items()},
        credentials={},
    )
