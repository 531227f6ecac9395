"""What a host must be, and what it is given."""

import re
from dataclasses import replace
from importlib.resources import files

import pytest

from pyinfra_nspawn.facts.host import Denial, Host
from pyinfra_nspawn.plans import host as plans
from pyinfra_nspawn.plans.firewall import firewall
from pyinfra_nspawn.plans.host import CONCERNS, Concern, plan_host
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preflight import STATE_VERSION
from pyinfra_nspawn.specs import Guest, HostSettings
from tests.unit.seen import (
    HOST,
    NEW,
    OLD,
    UNKNOWN,
    deployment,
    error,
    finding,
    guest,
    host_sysroot,
    own,
    snapshot,
    step,
    verbs,
)

BARE = replace(HOST, commands=("flock", "ostree", "rpm-ostree", "unshare"))
LAYER = HostSettings(layer_packages=True)
SYSCTL = "/etc/sysctl.d/60-pyinfra-nspawn.conf"
MANAGED = "# Managed by pyinfra-nspawn\n"


def planned(
    facts: object,
    *concerns: Concern,
    settings: HostSettings | None = None,
    guests: tuple[Guest, ...] = (guest(),),
    **seen: object,
) -> Plan:
    return plan_host(settings or HostSettings(), guests, snapshot(host_facts=facts, **seen), concerns)


def preflight(facts: object, **fields: object) -> Plan:
    return planned(facts, plans.preflight, **fields)


def test_a_fit_host():
    assert preflight(HOST) == Plan()


@pytest.mark.parametrize(
    ("changed", "field", "problem", "hint"),
    [
        ({"root": False}, "root", "no root rights", "Set `_sudo` in the inventory."),
        ({"ostree_booted": False}, "ostree_booted", "not booted from OSTree", "Use an OSTree host"),
        ({"systemd_version": 249}, "systemd_version", "systemd is 249", "systemd 250 or later"),
        ({"kernel": "5.10.0-8"}, "kernel", "the kernel is 5.10.0-8", "Update the host."),
        (
            {"kernel": "5.14.0", "state_file_system": "btrfs"},
            "kernel",
            "id-mapped mounts of btrfs need 5.15",
            "Update the host.",
        ),
        ({"cgroup_version": 1}, "cgroup_version", "cgroup v1", "systemd.unified_cgroup_hierarchy=1"),
        ({"max_user_namespaces": 0}, "max_user_namespaces", "forbidden", "user.max_user_namespaces above 0"),
        ({"state_file_system": "zfs"}, "state_file_system", "lies on zfs", "Put it on one of btrfs"),
        ({"free_bytes": 2**20}, "free_bytes", "has 1 MiB left", "Free some, or lower `free_mib`"),
        (
            {"state_version": STATE_VERSION + 1},
            "state_version",
            "by a newer version",
            "Upgrade pyinfra-nspawn",
        ),
    ],
)
def test_an_unmet_precondition_and_its_hint(changed, field: str, problem: str, hint: str):
    found = error(preflight(replace(HOST, **changed)), "unfit")
    assert (found.guest, found.field) == ("", field)
    assert problem in found.problem
    assert hint in found.hint
    assert len(found.problem) < 100
    assert len(found.hint) < 100


@pytest.mark.parametrize("command", ["ostree", "flock", "unshare"])
def test_a_missing_command(command: str):
    commands = tuple(name for name in HOST.commands if name != command)
    found = error(preflight(replace(HOST, commands=commands)), "unfit")
    assert (found.field, found.wanted) == (f"commands.{command}", command)
    assert found.problem == f"command `{command}` is missing"
    assert found.hint == "Install the package that has it."


def test_every_unmet_precondition_is_found_at_once():
    found = preflight(replace(HOST, root=False, ostree_booted=False, cgroup_version=1), sysroots=UNKNOWN)
    assert [item.field for item in found.errors] == ["root", "ostree_booted", "cgroup_version"]


def test_both_sides_of_a_version():
    found = error(preflight(replace(HOST, systemd_version=249)))
    assert (found.wanted, found.seen) == ("250", "249")


def test_user_namespaces_are_needed_only_for_the_isolation_that_uses_them():
    without = replace(HOST, max_user_namespaces=0)
    assert not preflight(without, guests=(guest(isolation="overlay"),)).errors
    assert preflight(without, guests=()).errors


def test_space_is_needed_only_for_a_guest_that_is_to_come():
    full = replace(HOST, free_bytes=0)
    assert preflight(full, private=own(OLD)) == Plan()
    assert not preflight(full, guests=(guest(state="absent"),)).errors
    unknown = snapshot(host_facts=full, guests=UNKNOWN)
    assert not plan_host(HostSettings(), (guest(),), unknown, (plans.preflight,)).errors
    assert not preflight(full, host=host_sysroot(stateroots=("fedora", "web"))).errors


def test_the_state_that_the_program_writes_is_the_one_that_is_understood():
    program = (files("pyinfra_nspawn.host") / "files.sh").read_text()
    assert re.search(r"^STATE_VERSION=(\d+)$", program, re.MULTILINE)[1] == str(STATE_VERSION)


def test_a_missing_systemd_container():
    found = error(preflight(BARE), "unfit")
    assert (found.field, found.wanted) == ("commands.machinectl", "machinectl")
    assert "set `layer_packages`" in found.hint
    found = error(preflight(BARE, settings=LAYER))
    assert found.hint == "Run deploys/host.py, reboot the host, then run again."


def test_it_is_no_obstacle_to_the_plan_that_layers_it():
    assert verbs(planned(BARE, *CONCERNS, settings=LAYER))[0] == "layer"
    found = error(planned(BARE, *CONCERNS))
    assert "set `layer_packages`" in found.hint


def test_layering_is_done_once_and_asks_for_a_reboot():
    assert planned(HOST, plans.container_package, settings=LAYER) == Plan()
    found = planned(BARE, plans.container_package, settings=LAYER)
    assert (step(found, "layer").guest, step(found, "layer").sysroot) == ("", True)
    missing = finding(found, "missing")
    assert (missing.guest, missing.wanted) == ("", "systemd-container")
    staged = deployment(OLD, "fedora", staged=True, packages=("systemd-container",))
    host = host_sysroot(deployments=(staged,))
    found = error(planned(BARE, plans.container_package, settings=LAYER, host=host), "unfit")
    assert found.problem == "systemd-container is layered but not booted"
    assert found.hint == "Reboot the host, then run again."


def test_nothing_can_be_layered_without_rpm_ostree():
    bare = replace(BARE, commands=())
    found = error(planned(bare, plans.container_package, settings=LAYER), "unfit")
    assert found.hint == "Install systemd-container on the host by hand."


def test_machines_target():
    found = planned(HOST, plans.machines_target)
    assert step(found, "machines-target").arguments == ()
    differs = finding(found, "differs")
    assert (differs.field, differs.wanted, differs.seen) == ("machines_target", "enabled", "disabled")
    assert planned(replace(HOST, machines_target="enabled"), plans.machines_target) == Plan()


TWO = (guest(), guest(name="db"))


def inotify(host: Host, guests: tuple[Guest, ...] = TWO) -> Plan:
    return planned(host, plans.inotify, guests=guests)


def test_inotify_is_raised_to_what_the_guests_need():
    found = inotify(HOST)
    sets = step(found, "sysctl")
    assert sets.arguments == (SYSCTL, "160")
    assert "fs.inotify.max_user_instances = 160\n" in sets.payload
    (diff,) = sets.diffs
    assert (diff.path, diff.before, diff.after[0]) == (SYSCTL, (), MANAGED.strip())
    differs = finding(found, "differs")
    assert (differs.field, differs.wanted, differs.seen) == ("inotify_instances", "160", "128")
    assert inotify(replace(HOST, inotify_instances=160, sysctl_file=sets.payload)) == Plan()


def test_a_guest_that_is_removed_needs_none():
    assert step(inotify(HOST, (guest(), guest(name="db", state="absent"))), "sysctl").arguments[1] == "144"


def test_inotify_is_never_lowered():
    high = replace(HOST, inotify_instances=8192)
    assert step(inotify(high), "sysctl").arguments[1] == "8192"
    file = f"{MANAGED}fs.inotify.max_user_instances = 8192\n"
    assert inotify(replace(high, sysctl_file=file)) == Plan()


def test_a_foreign_file_in_the_place_of_ours():
    found = error(inotify(replace(HOST, sysctl_file="fs.inotify.max_user_instances = 1\n")), "foreign")
    assert (found.guest, found.field) == ("", SYSCTL)
    assert (found.problem, found.hint) == (f"{SYSCTL} is not ours", "Move it away, then run again.")


def test_inotify_after_a_boot_that_lost_it():
    assert inotify(replace(HOST, sysctl_file=f"{MANAGED}fs.inotify.max_user_instances = 160\n")).steps


PERMISSIVE = HostSettings(selinux="permissive")


def selinux(host: Host, settings: HostSettings = PERMISSIVE) -> Plan:
    return planned(host, plans.selinux, settings=settings)


def test_selinux():
    assert selinux(HOST, HostSettings()) == Plan()
    found = selinux(HOST)
    assert step(found, "selinux").arguments == ("permissive",)
    differs = finding(found, "differs")
    assert (differs.field, differs.wanted, differs.seen) == ("selinux", "permissive", "enforcing")
    now_only = replace(HOST, selinux="permissive")
    assert selinux(now_only).steps
    assert selinux(replace(now_only, selinux_configured="permissive")) == Plan()
    found = error(selinux(replace(HOST, selinux="disabled")), "unfit")
    assert (found.field, found.wanted, found.seen) == ("selinux", "permissive", "disabled")


NSPAWN = Denial("systemd_nspawn_t", "var_lib_t", "lnk_file", ("read",))
MACHINED = (
    Denial("systemd_machined_t", "cgroup_t", "file", ("getattr",)),
    Denial("systemd_machined_t", "vsock_device_t", "chr_file", ("read", "open")),
)
DENYING = replace(HOST, denials=(MACHINED[0], NSPAWN, MACHINED[1]))


def test_a_denial_is_a_note_for_each_domain_with_its_remedies():
    machined, nspawn = selinux(DENYING, HostSettings()).notes
    assert nspawn.problem == "SELinux denies systemd_nspawn_t read of var_lib_t:lnk_file"
    assert (nspawn.kind, nspawn.field, nspawn.guest) == ("unfit", "selinux", "")
    assert machined.problem == "SELinux denies systemd_machined_t getattr of cgroup_t:file, and 1 more"
    assert machined.seen == "getattr of cgroup_t:file; read open of vsock_device_t:chr_file"
    remedies = [
        "selinux-policy",
        "module",
        '"semanage permissive -a systemd_machined_t"',
        "selinux: permissive",
    ]
    found = [machined.hint.index(remedy) for remedy in remedies]
    assert found == sorted(found)


def test_denials_refuse_nothing():
    found = planned(DENYING, *CONCERNS, settings=HostSettings(selinux="enforcing"))
    assert verbs(found) == ["machines-target", "sysctl"]
    assert len(found.notes) == 2


def test_a_host_that_becomes_permissive_denies_nothing():
    assert selinux(DENYING).notes == ()
    assert verbs(selinux(DENYING)) == ["selinux"]


def test_all_steps_of_a_host_are_one_plan():
    found = planned(HOST, *CONCERNS, settings=PERMISSIVE)
    assert verbs(found) == ["machines-target", "sysctl", "selinux"]
    assert {item.guest for item in found.findings} == {""}


def test_an_unfit_host_is_given_nothing():
    assert not planned(replace(HOST, cgroup_version=1), *CONCERNS).steps


# The firewall is looked at with the network alone.
@pytest.mark.parametrize("concern", [concern for concern in CONCERNS if concern is not firewall])
def test_a_host_that_could_not_be_read(concern):
    found = error(planned(UNKNOWN, concern, settings=PERMISSIVE), "unreadable")
    assert (found.guest, found.problem) == ("", "the host could not be read: it said 'Cannot fork'")


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        ({"sysroots": UNKNOWN}, "the host's OSTree sysroots"),
        ({"host": UNKNOWN}, "the host's OSTree sysroot"),
    ],
)
def test_sysroots_that_could_not_be_read(seen, what: str):
    assert error(preflight(HOST, **seen), "unreadable").problem.startswith(f"{what} could not be read")


def test_rpm_ostree_s_trouble_is_no_obstacle_to_a_host():
    """Case 4."""
    assert preflight(HOST, host=host_sysroot(layers=UNKNOWN)) == Plan()


def test_ostree_s_complaint_is_a_note():
    """Case 3."""
    complaint = "fedora:fedora/iot, commit abc: no signature"
    found = preflight(HOST, host=host_sysroot(complaint=complaint))
    note = finding(found, "unreadable")
    assert (note.guest, note.field, note.seen, note.severity) == ("", "deployments", complaint, "note")
    assert complaint in note.problem
    assert note.hint == 'Run "ostree admin status" on the host.'


@pytest.mark.parametrize(
    ("following", "problem"),
    [
        (
            deployment(NEW, "fedora"),
            "the host boots another deployment next, whose /etc was made before this run",
        ),
        (deployment(NEW, "web"), "the host boots stateroot web next, not its own"),
    ],
)
def test_what_a_host_boots_next_is_noted(following, problem: str):
    host = host_sysroot(deployments=(following, deployment(OLD, "fedora", booted=True)))
    note = finding(preflight(HOST, host=host), "boot-order")
    assert (note.guest, note.field, note.severity) == ("", "deployments", "note")
    assert (note.wanted, note.seen) == (f"{OLD}.0", f"{NEW}.0")
    assert note.problem == problem
    assert note.hint


@pytest.mark.parametrize("fields", [{"booted": True}, {"staged": True}])
def test_a_deployment_that_gets_what_is_written_now(fields):
    following = deployment(NEW, "fedora", **fields)
    host = host_sysroot(deployments=(following, deployment(OLD, "fedora", booted=True)))
    assert not preflight(HOST, host=host).findings
