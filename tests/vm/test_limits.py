"""Limits that really apply: each is reached, or read back from the guest's control group."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import ROOT, Outcome, pyinfra
from tests.lab.guest import inside
from tests.vm.conftest import FLEET, INVENTORY, converge

if TYPE_CHECKING:
    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

GROUP = "/sys/fs/cgroup/machine.slice/systemd-nspawn@web.service"
MEMORY_MAX = 192 * 2**20
TASKS_MAX = 200
#: By guest, in MiB. One has a sysroot of its own, the other lies in the host's, which is read-only on vm2.
DISK_MAX = {"web": 256, "db": 512}
#: What the projects of guests may take, in KiB.
QUOTAS = """
set -e
repquota -Pn $(findmnt -nvo SOURCE /sysroot) >/run/quotas
grep -q '^#0 ' /run/quotas
awk '$1 ~ /^#[12][0-9]{9}$/ && $5 > 0 { print $5 }' /run/quotas
"""
SIZE = "df -m --output=size /var | tail -n 1"
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value"


def events(machine: VirtualMachine, file: str) -> dict[str, int]:
    lines = machine.succeed(f"cat {GROUP}/{file}").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def test_a_guest_that_takes_too_much_memory_loses_the_process(guests: Machines):
    machine = guests["vm1"]
    assert int(machine.succeed(f"cat {GROUP}/memory.max")) == MEMORY_MAX
    assert events(machine, "memory.events")["oom_kill"] == 0
    # tail(1) keeps a last line that never ends.
    done = machine.run(
        "systemd-run -M web --pipe --wait --collect sh -c 'head -c 400M /dev/zero | tail -n 1'"
    )
    assert "oom-kill" in done.stderr
    assert events(machine, "memory.events")["oom_kill"] >= 1
    assert int(machine.succeed(f"cat {GROUP}/memory.peak")) <= MEMORY_MAX
    assert machine.succeed("systemctl is-system-running") == "running\n"


def test_a_guest_that_starts_too_many_processes_is_refused_the_next(guests: Machines):
    machine = guests["vm1"]
    assert int(machine.succeed(f"cat {GROUP}/pids.max")) == TASKS_MAX
    assert events(machine, "pids.events")["max"] == 0
    many = f"for i in $(seq {TASKS_MAX}); do sleep 300 & done 2>/dev/null; exit 0"
    machine.run(f"systemd-run -M web --pipe --wait --quiet --collect sh -c '{many}'")
    assert events(machine, "pids.events")["max"] >= 1
    assert int(machine.succeed(f"cat {GROUP}/pids.peak")) <= TASKS_MAX


def test_a_guest_that_takes_more_than_its_share_of_processors_is_throttled(guests: Machines):
    machine = guests["vm1"]
    assert machine.succeed(f"cat {GROUP}/cpu.max") == "150000 100000\n"
    before = events(machine, "cpu.stat")["nr_throttled"]
    inside(machine, "web", "for i in 1 2; do timeout 3 sh -c 'while :; do :; done' & done; wait")
    assert events(machine, "cpu.stat")["nr_throttled"] > before


def test_a_guest_has_its_share_of_the_disks(guests: Machines):
    assert guests["vm1"].succeed(f"cat {GROUP}/io.weight") == "default 50\n"


def guests_of_inventory() -> list[dict[str, Any]]:
    """Return the guests of vm1."""
    found: list[dict[str, Any]] = dict(runpy.run_path(str(ROOT / INVENTORY))["lab_vm"])["vm1"]["guests"]
    return found


@pytest.mark.parametrize(("name", "guest"), [("vm1", "web"), ("vm2", "db")])
def test_a_guest_that_writes_too_much_is_refused_more(guests: Machines, name: str, guest: str):
    machine, most = guests[name], DISK_MAX[guest]
    assert inside(machine, guest, SIZE).strip() == str(most)
    for path in ("/var/filled", "/etc/filled"):
        fill = f"sh -c 'head -c {most}M /dev/zero >{path}'"
        done = machine.run(f"systemd-run -M {guest} --pipe --wait --quiet --collect {fill}", timeout=240)
        assert "Disk quota exceeded" in done.stderr
    written = int(inside(machine, guest, "cat /var/filled /etc/filled | wc -c"))
    assert most * 2**19 < written < most * 2**20


def test_a_quota_grows_without_a_restart_and_goes_with_its_guest(guests: Machines):
    machine = guests["vm1"]
    started = machine.succeed(STARTED)
    assert machine.succeed(QUOTAS).split() == [str(most * 1024) for most in sorted(DISK_MAX.values())]

    web, db = guests_of_inventory()
    larger = {**web, "limits": {**web["limits"], "disk_max": "300M"}}
    for changes in (1, 0):
        outcome = converge("--limit", "vm1", "-y", "--json", guests=[larger, db])
        assert outcome.json["results"]["totals"]["success"] == changes, outcome.stderr
    assert inside(machine, "web", SIZE).strip() == "300"
    assert machine.succeed(STARTED) == started
    gone = [{"name": name, "state": "absent"} for name in DISK_MAX]
    converge("--limit", "vm1", "-y", guests=gone)
    assert machine.succeed(QUOTAS) == ""


@pytest.mark.full
def test_a_guest_that_has_more_than_its_first_quota_goes_on(guests: Machines):
    machine = guests["vm1"]
    inventory = guests_of_inventory()

    def limited(most: str) -> Outcome:
        limits = {"disk_max": most} if most else {}
        wanted = [*inventory, {"name": "used", "limits": limits}]
        return pyinfra("--limit", "vm1", "-y", "--json", FLEET, inventory=INVENTORY, guests=wanted)

    assert limited("").code == 0
    inside(machine, "used", "head -c 100M /dev/zero >/var/big")
    small = limited("64M")
    assert small.code == 1
    assert any("used: no quota is in force" in line for line in small.lines("vm1")), small.stderr
    inside(machine, "used", "head -c 1M /dev/zero >/var/more")
    assert limited("200M").code == 1
    machine.succeed("systemctl restart systemd-nspawn@used")
    large = limited("200M")
    assert large.code == 0, large.stderr
    assert large.json["results"]["totals"]["success"] == 0
    assert inside(machine, "used", SIZE).strip() == "200"
    lower = limited("80M")
    assert lower.code == 1
    assert any("which is more than `disk_max`" in line for line in lower.lines("vm1")), lower.stderr
    assert inside(machine, "used", SIZE).strip() == "200"
