"""A guest that is ready for k3s says so; what is broken is named alone, and the gate stops there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.guest import inside
from tests.lab.script import script
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import GUEST_SECONDS, INVENTORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.conftest import Outcome
    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

K3S = "deploys/k3s.py"
GUESTS = [{"name": "web", "k3s": True}]
MAPPED = [*GUESTS, {"name": "mapped"}]
#: The state in which a guest is ready for k3s.
READY = "ready"

DROPIN = "/etc/systemd/system/systemd-nspawn@web.service.d/50-ostree.conf"
RESTART = "systemctl daemon-reload && systemctl restart systemd-nspawn@web"
SLICE = "/run/systemd/system/machine.slice.d"
#: With all capabilities systemd-nspawn allows bpf by itself; /dev/kmsg takes CAP_SYSLOG.
WITHOUT_BPF = "/--system-call-filter=bpf/d; s/--capability=all/--capability=CAP_SYSLOG/"
WITHOUT_PIDS = f"mkdir {SLICE} && printf '[Slice]\\nDisableControllers=pids\\n' >{SLICE}/lab.conf"
ON_HOST = {
    "modules": "modprobe -r vxlan && echo 'install vxlan /bin/false' >/etc/modprobe.d/lab.conf",
    "sysctls": "sysctl -qw kernel.panic=0",
    "keyring": f"sed -i '/--system-call-filter=@keyring/d' {DROPIN} && {RESTART}",
    "bpf": f"sed -i '{WITHOUT_BPF}' {DROPIN} && {RESTART}",
    "controllers": f"{WITHOUT_PIDS} && {RESTART}",
}
IN_GUEST = {
    "kernel-log": "umount /dev/kmsg && rm /dev/kmsg",
    "conntrack-table": "umount /sys/module",
    "propagation": "mount --make-private /",
    "ranges": "ip address add 10.42.7.1/24 dev host0",
    "space": "fallocate -l $(($(df -k --output=avail /var | tail -n 1) - 300000))K /var/fill",
}
#: What k3s starts without.
NOTES = ("conntrack-table",)
GATE = """
from pyinfra_nspawn.deploys._inventory import guests_of_host
from pyinfra_nspawn.operations import nspawn

nspawn.k3s_ready(name="Ready", guests=guests_of_host())
"""

pytestmark = pytest.mark.full


def run(deploy: str | Path) -> Outcome:
    return pyinfra("-y", "--json", "--limit", "vm1", str(deploy), inventory=INVENTORY, guests=GUESTS)


def unmet(guests: list[dict[str, object]], *options: str) -> dict[str, set[str]]:
    """Return what is unmet, by guest; less the clock, which nobody sets there."""
    words = ("--json", "--limit", "vm1", "--data", f"guests={json.dumps(guests)}", *options)
    shown = script("k3s", INVENTORY, *words)
    found = json.loads(shown.stdout)["guests"]
    assert not [guest["problem"] for guest in found if guest["problem"]]
    assert shown.returncode == (0 if all(guest["ready"] for guest in found) else 2)
    states = {guest["guest"]: guest["preconditions"] for guest in found}
    return {
        name: {item["name"] for item in items if item["state"] == "unmet"} - {"clock"}
        for name, items in states.items()
    }


@pytest.fixture(scope="session")
def made(have_up: Callable[[list[str]], Machines]) -> VirtualMachine:
    """Have a guest that is ready, by the deploy for it; the state is saved for others to begin with."""
    found = have_up(["vm1"])["vm1"]
    found.load(BOOTED)
    outcome = run(K3S)
    assert outcome.code == 0, outcome.stderr
    found.save(READY)
    return found


@pytest.fixture
def machine(made: VirtualMachine) -> VirtualMachine:
    made.load(READY)
    return made


def wait(machine: VirtualMachine) -> None:
    machine.wait_until_succeeds("systemctl -M web is-system-running --wait", GUEST_SECONDS)


def test_a_guest_is_ready_and_the_second_run_changes_nothing(machine: VirtualMachine):
    assert unmet(GUESTS) == {"web": set()}
    assert run(K3S).json["results"]["totals"]["success"] == 0
    shown = script("status", INVENTORY, "--limit", "vm1", "--data", f"guests={json.dumps(GUESTS)}")
    assert "ready for k3s" in shown.stdout
    machine.reboot()
    wait(machine)
    assert unmet(GUESTS) == {"web": set()}


@pytest.mark.parametrize("name", [*ON_HOST, *IN_GUEST])
def test_what_is_broken_is_named_alone_and_the_gate_stops(name: str, machine: VirtualMachine, tmp_path: Path):
    if name in ON_HOST:
        machine.succeed(ON_HOST[name])
    else:
        inside(machine, "web", IN_GUEST[name])
    wait(machine)
    assert unmet(GUESTS) == {"web": {name}}
    (tmp_path / "gate.py").write_text(GATE)
    outcome = run(tmp_path / "gate.py")
    assert outcome.code == (0 if name in NOTES else 1)
    assert f"web: not ready for k3s: {name}: " in "\n".join(outcome.lines("vm1"))


@pytest.mark.usefixtures("machine")
def test_a_user_namespace_is_named_alone():
    outcome = pyinfra("-y", "--limit", "vm1", "deploys/fleet.py", inventory=INVENTORY, guests=MAPPED)
    assert outcome.code == 0, outcome.stderr
    assert unmet(MAPPED, "--all") == {"web": set(), "mapped": {"real-root"}}
