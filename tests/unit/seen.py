"""Hosts and guests as they are seen, for the tests of plans."""

import base64
import hashlib
from dataclasses import replace

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.facts.network import Network
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine, Unit
from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
from pyinfra_nspawn.facts.snapshot import Snapshot
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.guest import STAGES, Stage, plan_guest
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.layout import Layout

OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64
UNKNOWN = Unreadable("it said 'Cannot fork'")
DROPINS = "/etc/systemd/system/systemd-nspawn@web.service.d"
BOOT, LIMITS = f"{DROPINS}/50-ostree.conf", f"{DROPINS}/60-limits.conf"
SETTINGS = "/etc/systemd/nspawn/web.nspawn"
STATE = "/var/lib/pyinfra-nspawn/web"
LINK = "/sysroot/ostree/deploy/web"

HOST = Host(
    root=True,
    ostree_booted=True,
    kernel="6.12.1",
    commands=("chattr", "flock", "lsattr", "machinectl", "ostree", "setquota", "systemd-nspawn", "unshare"),
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
    project_quotas=("private", "shared"),
)


def guest(**fields: object) -> Guest:
    return Guest.of({"name": "web", **fields}, "test")


def deployment(checksum: str, stateroot: str = "web", **fields: object) -> Deployment:
    return replace(Deployment(0, stateroot, checksum, 0), **fields)


def host_sysroot(**fields: object) -> Sysroot:
    booted = deployment(OLD, "fedora", booted=True)
    sysroot = Sysroot((booted,), ("fedora",), {"fedora:iot": NEW, "local": NEW}, {"fedora": "https://x"})
    return replace(sysroot, **fields)


BESIDE = host_sysroot(
    deployments=(deployment(NEW, "fedora", booted=True), deployment(OLD)), stateroots=("fedora", "web")
)
"""The host's sysroot with the guest's stateroot in it."""


def own(*checksums: str, **fields: object) -> Sysroot:
    return replace(Sysroot(tuple(deployment(checksum) for checksum in checksums), ("web",)), **fields)


def current(checksum: str) -> str:
    return f"ostree/deploy/web/deploy/{checksum}.0"


def beside(checksum: str = OLD) -> GuestSeen:
    """Return a guest of ours in the host's own sysroot."""
    return GuestSeen(directory="700 0:0", current=f"{LINK}/deploy/{checksum}.0", stateroot=LINK)


UNIT = Unit(
    load_state="loaded",
    unit_file_state="enabled",
    active_state="active",
    sub_state="running",
    result="success",
    need_daemon_reload=False,
    fragment_path="/usr/lib/systemd/system/systemd-nspawn@.service",
    dropin_paths=(BOOT, LIMITS),
    main_pid=812,
)
STOPPED = replace(UNIT, active_state="inactive", sub_state="dead", main_pid=0)
NEVER = replace(STOPPED, unit_file_state="disabled", dropin_paths=())
"""The unit of a guest that the host has never heard of: the template's."""


def shown(command: tuple[str, ...]) -> str:
    """Return a command as `systemctl show` prints it."""
    return " ".join(word.replace("$", "$$") for word in command)


def files(wanted: Guest) -> dict[str, FileSeen]:
    return {path: FileSeen(text, "644") for path, text in define(wanted).files.items()}


def running(wanted: Guest, **unit: object) -> GuestSeen:
    """Return the guest as a host has it when nothing is left to do."""
    definition = define(wanted)
    digests = {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in definition.credentials.items()
    }
    runs = replace(
        UNIT,
        definition=definition.digest,
        exec_start=shown(definition.command),
        device_allow=tuple(sorted(definition.devices)),
    )
    return GuestSeen(
        unit=replace(runs, **unit),
        machine=Machine(unit=Layout.of(wanted).unit, leader=2, system_state="running", deployment=f"{OLD}.0"),
        directory="700 0:0",
        current=current(OLD),
        files=files(wanted),
        credentials={name: FileSeen(digest, "600") for name, digest in digests.items()},
    )


def stopped(wanted: Guest) -> GuestSeen:
    """Return the guest, defined and not running."""
    return replace(running(wanted), unit=STOPPED, machine=None)


def snapshot(
    seen: object = None,
    private: object = None,
    host: object = None,
    paths: dict[str, str | None] | None = None,
    **facts: object,
) -> Snapshot:
    """Return a host with one guest in it, or with none.

    + facts: `host_facts`, `sysroots`, `guests` or `network` in place of these
    """
    sysroots = HostSysroots(host or host_sysroot(), {"web": private} if private else {}, paths or {})
    return Snapshot(
        facts.get("host_facts", HOST),
        facts.get("sysroots", sysroots),
        facts.get("guests", {"web": seen} if seen else {}),
        facts.get("network", Network({})),
    )


def plan(wanted: Guest | None = None, *stages: Stage, **seen: object) -> Plan:
    """Return the plan of all stages, or of these, for a guest on a host that is `snapshot(**seen)`."""
    return plan_guest(wanted or guest(), snapshot(**seen), stages or STAGES)


def converged(wanted: Guest, **changes: object) -> Plan:
    """Return the plan for a guest that is as it should be, but for these fields of `GuestSeen`."""
    return plan(wanted, seen=replace(running(wanted), **changes), private=own(OLD))


def verbs(found: Plan) -> list[str]:
    return [step.verb for step in found.steps]


def step(found: Plan, verb: str) -> Step:
    (only,) = (step for step in found.steps if step.verb == verb)
    return only


def finding(found: Plan, kind: str, field: str | None = None) -> Finding:
    (only,) = (
        item for item in found.findings if item.kind == kind and (field is None or item.field == field)
    )
    return only


def error(found: Plan, kind: str | None = None) -> Finding:
    """Return the only error of a refused plan."""
    assert not found.steps
    (only,) = found.errors
    assert kind in (None, only.kind)
    return only


def payload(found: Step) -> dict[str, tuple[str, str]]:
    """Return mode and content by path of what a step sends; mode `-` and nothing for what it removes."""
    lines = [line.split(" ") for line in found.payload.splitlines()]
    return {
        path: (mode, base64.b64decode("".join(rest)).decode())
        for mode, path, *rest in lines
        if mode != "trial"
    }
