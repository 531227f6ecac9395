"""From nothing to a cluster of two guests, on a kernel that is ready for it; an upgrade, and a reboot.

k3s is the binary that K3S_BINARY names, K3S_UPGRADE the one to upgrade to, and K3S_IMAGES the archive of its
images. Without them it is a stand-in (tests/lab/k3s_stand_in.py), and no more is proven than what it says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab.conftest import Outcome, pyinfra, remote_commands
from tests.lab.guest import inside
from tests.lab.k3s_stand_in import built, sha256_of
from tests.lab.script import script
from tests.lab.shell import retry
from tests.lab.vm.access import SSH_CONFIG
from tests.lab.vm.fleet import UPLINK
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import GUEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

REAL = "K3S_BINARY" in os.environ
OLD = Path(os.environ["K3S_BINARY"]) if REAL else built("v1.30.1+k3s1")
NEW = Path(os.environ.get("K3S_UPGRADE", OLD)) if REAL else built("v1.31.0+k3s1")
IMAGES = os.environ.get("K3S_IMAGES")
#: Free in the network that QEMU makes.
ADDRESSES = {"first": "10.0.2.101", "agent": "10.0.2.102"}
READY = {"first": "Ready", "agent": "Ready"}
#: By emulation.
NODE_SECONDS = 900 if REAL else 120
DEPLOYS = ("deploys/host.py", "deploys/network.py", "deploys/k3s.py")

pytestmark = pytest.mark.timeout(3600 if REAL else 1800)


def artifact(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": sha256_of(path)}


def node(name: str, binary: Path, **k3s: object) -> dict[str, Any]:
    address = {"kind": "bridge", "addresses": [f"{ADDRESSES[name]}/24"], "gateways": ["10.0.2.2"]}
    images = [artifact(Path(IMAGES))] if IMAGES else []
    given = {
        "binary": artifact(binary),
        "images": images,
        "token": "of-the-lab",
        "ready_seconds": NODE_SECONDS,
    }
    return {
        "name": name,
        "network": address,
        "start_timeout_seconds": GUEST_SECONDS,
        "k3s": {**given, **k3s},
    }


def run(inventory: Path, binary: Path) -> Outcome:
    data = {
        "ssh_config_file": str(SSH_CONFIG),
        "nspawn_host": {"bridge": {"uplinks": [UPLINK], "confirm_seconds": 60}},
        "guests": [node("first", binary), node("agent", binary, role="agent")],
    }
    inventory.write_text(
        f"from pyinfra_nspawn.connectors.ssh import FAST_SSH\nvms = [('vm1', {{**FAST_SSH, **{data!r}}})]\n"
    )
    return pyinfra("-y", "--json", *DEPLOYS, inventory=str(inventory))


def kubectl(machine: VirtualMachine, *words: str) -> str:
    return inside(machine, "first", f"/usr/lib/k3s/k3s kubectl {' '.join(words)}")


def statuses(machine: VirtualMachine) -> dict[str, str]:
    found = (line.split() for line in kubectl(machine, "get", "nodes", "--no-headers").splitlines())
    return {words[0]: words[1] for words in found}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes") / "inventory.py"


@pytest.fixture(scope="module")
def machine(have_up: Callable[[list[str]], Machines], inventory: Path) -> VirtualMachine:
    found = have_up(["vm1"])["vm1"]
    found.load(BOOTED)
    outcome = run(inventory, OLD)
    assert outcome.code == 0, outcome.stderr
    return found


def test_two_guests_are_nodes_and_the_second_run_changes_nothing(
    machine: VirtualMachine, inventory: Path, tmp_path: Path
):
    assert statuses(machine) == READY
    before = remote_commands(machine)
    assert run(inventory, OLD).json["results"]["totals"]["success"] == 0
    # A look each: host and bridge twice, guests, preconditions, servers, agents.
    assert remote_commands(machine) - before == 8
    shown = script("kubeconfig", inventory, tmp_path / "kubeconfig")
    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == f"https://{ADDRESSES['first']}:6443"
    if REAL:
        pod = ("run", "greeter", "--image=rancher/mirrored-pause:3.6", "--image-pull-policy=Never")
        kubectl(machine, *pod)
        retry(lambda: "Running" in kubectl(machine, "get", "pod", "greeter"), NODE_SECONDS, "the pod runs")


def test_an_upgrade(machine: VirtualMachine, inventory: Path):
    outcome = run(inventory, NEW)
    assert outcome.code == 0, outcome.stderr
    said = "\n".join(outcome.lines("vm1"))
    assert REAL or "guest agent: move the pods of node agent away, place k3s (" in said
    assert statuses(machine) == READY
    for name in ADDRESSES:
        inside(machine, name, "! test -e /var/lib/rancher/k3s/unexpected")


@pytest.mark.full
def test_both_are_ready_again_after_the_host_was_rebooted(machine: VirtualMachine, inventory: Path):
    machine.reboot()
    for name in ADDRESSES:
        machine.wait_until_succeeds(f"systemctl -M {name} is-system-running --wait", GUEST_SECONDS)
    retry(lambda: statuses(machine) == READY, NODE_SECONDS, "both nodes are ready again")
    assert run(inventory, NEW).json["results"]["totals"]["success"] == 0
