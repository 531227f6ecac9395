"""A host with SELinux: permissive with a guest, the mode that the inventory sets, and enforcing.

The policy is Debian's reference policy, which has a domain of its own for nspawn and its guests. Fedora's has
none: there it is machined that is denied something.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import Outcome, pyinfra, remote_commands
from tests.lab.guest import inside
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import FLEET, GUEST_SECONDS, GUESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

pytestmark = pytest.mark.full

INVENTORY = "inventories/lab_selinux.py"
CONFIG = "/etc/selinux/config"
PERMISSIVE = "make SELinux permissive, now and at the next boot"
#: What the inventory says of the host where the mode is left as it is.
AS_IT_IS: dict[str, object] = {}
#: By the policy that there is, a guest neither starts on an enforcing host nor gets an address.
DENIED = {
    "systemd_machined_t": "getattr of cgroup_t:file",
    "systemd_nspawn_t": "read of var_lib_t:lnk_file",
}
#: What `semanage permissive -a` makes of a domain; the image lacks that, which is written in Python.
MODULE = "".join(f"(typepermissive systemd_{name}_t)" for name in ("machined", "networkd", "nspawn"))


@pytest.fixture(scope="module")
def machine(have_up: Callable[[list[str]], Machines]) -> VirtualMachine:
    """The machine with SELinux, up; the other two are not needed."""
    return have_up(["vm3"])["vm3"]


@pytest.fixture
def booted(machine: VirtualMachine) -> VirtualMachine:
    """The machine as it was after its first boot."""
    machine.load(BOOTED)
    return machine


@pytest.fixture(scope="module")
def job(machine: VirtualMachine) -> tuple[Outcome, Outcome, int]:
    """Run the main job, and once more with its remote commands counted; its end is saved."""
    machine.load(BOOTED)
    first = run()
    before = remote_commands(machine)
    second = run()
    after = remote_commands(machine)
    machine.save(GUESTS)
    return first, second, after - before


@pytest.fixture
def guests(job: tuple[Outcome, Outcome, int], machine: VirtualMachine) -> VirtualMachine:
    """The machine, permissive, with the inventory's guest running."""
    assert job[0].code == 0, job[0].stderr
    machine.load(GUESTS)
    return machine


def run(*options: str, **data: object) -> Outcome:
    return pyinfra(*(options or ("-y", "--json")), FLEET, inventory=INVENTORY, **data)


def mode(machine: VirtualMachine) -> tuple[str, str]:
    """Return SELinux's mode now and for the next boot."""
    configured = machine.succeed(f"sed -n s/^SELINUX=//p {CONFIG}")
    return machine.succeed("getenforce").strip().lower(), configured.strip()


def domain(machine: VirtualMachine, process: str) -> str:
    """Return the type of the oldest process of that name."""
    return machine.succeed(f"ps -o label= -p $(pgrep -o -x {process})").split(":")[2]


def test_the_host_boots_permissive_with_its_policy(booted: VirtualMachine):
    assert "enforcing=" not in booted.succeed("cat /proc/cmdline")  # the configuration decides
    assert mode(booted) == ("permissive", "permissive")
    assert domain(booted, "systemd") == "init_t"
    assert domain(booted, "systemd-journal") == "syslogd_t"
    assert domain(booted, "sshd") == "sshd_t"
    assert booted.succeed("systemctl is-system-running") == "running\n"


def test_labels_are_in_the_commit(booted: VirtualMachine):
    ref = booted.spec.generation.ref
    listed = booted.succeed(f"ostree ls -X {ref} /usr/bin/systemd-nspawn /usr/etc/passwd")
    assert "system_u:object_r:systemd_nspawn_exec_t:s0" in listed
    assert "system_u:object_r:etc_t:s0" in listed


def test_the_first_run_makes_a_guest(guests: VirtualMachine):
    assert guests.succeed("systemctl -M web is-system-running") == "running\n"
    assert inside(guests, "web", "cat /usr/lib/lab-release") == "13.1\n"
    assert domain(guests, "systemd-nspawn") == "systemd_nspawn_t"


def test_the_second_run_changes_nothing(job: tuple[Outcome, Outcome, int]):
    _, second, asked = job
    assert second.code == 0, second.stderr
    assert second.json["results"]["totals"]["success"] == 0
    assert asked == 2


def test_it_becomes_permissive_and_stays_so(guests: VirtualMachine):
    guests.succeed(f"sed -i s/^SELINUX=permissive/SELINUX=enforcing/ {CONFIG} && setenforce 1")
    planned = run("--dry")
    assert PERMISSIVE in planned.lines("vm3"), planned.stderr
    assert mode(guests) == ("enforcing", "enforcing")
    done = run()
    assert done.code == 0, done.stderr
    assert PERMISSIVE in done.lines("vm3")
    assert mode(guests) == ("permissive", "permissive")
    assert guests.succeed(f"ls -Z {CONFIG}").split(":")[2] == "selinux_config_t"
    guests.reboot()
    assert mode(guests) == ("permissive", "permissive")
    guests.wait_until_succeeds("systemctl -M web is-system-running --wait", GUEST_SECONDS)
    assert run().json["results"]["totals"]["success"] == 0


def denials(outcome: Outcome) -> dict[str, str]:
    """Return what a run says of SELinux's denials: the first, by domain."""
    found = (re.search(r"SELinux denies (\w+) ([\w ]+:\w+)", line) for line in outcome.lines("vm3"))
    return {match[1]: match[2] for match in found if match}


def test_what_an_enforcing_host_denies_is_told_until_it_is_allowed(booted: VirtualMachine):
    booted.succeed("setenforce 1")
    failed = run(nspawn_host=AS_IT_IS)
    assert failed.code != 0
    assert any("current': Permission denied" in line for line in failed.lines("vm3")), failed.stderr
    again = run("--dry", nspawn_host=AS_IT_IS)
    assert DENIED.items() <= denials(again).items(), again.stderr
    assert any('"semanage permissive -a systemd_nspawn_t"' in line for line in again.lines("vm3"))
    booted.succeed(f"echo '{MODULE}' >/run/lab.cil && semodule --install=/run/lab.cil", timeout=240)
    allowed = run(nspawn_host=AS_IT_IS)
    assert allowed.code == 0, allowed.stderr
    assert denials(allowed) == {}
    assert mode(booted)[0] == "enforcing"
    assert booted.succeed("systemctl -M web is-system-running") == "running\n"
    assert denials(run("--dry", nspawn_host=AS_IT_IS)) == {}


def test_it_is_told_from_the_log_of_auditd(booted: VirtualMachine):
    booted.succeed("mkdir -m 700 /var/log/audit && restorecon /var/log/audit")  # as its package does
    booted.succeed("systemctl start auditd.service && setenforce 1")
    assert run(nspawn_host=AS_IT_IS).code != 0
    assert denials(run("--dry", nspawn_host=AS_IT_IS))["systemd_nspawn_t"] == DENIED["systemd_nspawn_t"]
    booted.fail("dmesg | grep 'avc:  denied .*systemd_nspawn_t'")
    booted.succeed("setenforce 0; grep 'avc:  denied .*systemd_nspawn_t' /var/log/audit/audit.log")
