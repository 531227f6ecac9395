"""Two guests that are ready for k3s are nodes of one control plane, of Kubernetes 1.20."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.guest import inside
from tests.lab.kubelet import cluster, node
from tests.lab.kubelet.bundle import CLUSTER
from tests.lab.kubelet.cluster import FIRST, NODES, SECOND
from tests.lab.shell import retry
from tests.lab.vm.access import SSH_CONFIG
from tests.lab.vm.fleet import UPLINK
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import GUEST_SECONDS, INVENTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

SETTINGS = {"bridge": {"uplinks": [UPLINK], "confirm_seconds": 60}}
#: Free in the network that QEMU makes.
ADDRESSES = {FIRST: "10.0.2.101", SECOND: "10.0.2.102"}
PACKETS = "cat /sys/class/net/vx/statistics/rx_packets"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


def wanted() -> list[dict]:
    """Return both guests, each with its address."""
    return [
        {
            **guest,
            "network": {
                "kind": "bridge",
                "addresses": [f"{ADDRESSES[guest['name']]}/24"],
                "gateways": ["10.0.2.2"],
            },
        }
        for guest in cluster.guests(ADDRESSES[FIRST])
    ]


@pytest.fixture(scope="module")
def machine(have_up: Callable[[list[str]], Machines]) -> VirtualMachine:
    found = have_up(["vm1"])["vm1"]
    found.load(BOOTED)
    node.install(found, SSH_CONFIG, CLUSTER)
    words = ("-y", "--json", "--limit", "vm1", "deploys/host.py", "deploys/network.py", "deploys/k3s.py")
    outcome = pyinfra(*words, inventory=INVENTORY, nspawn_host=SETTINGS, guests=wanted())
    assert outcome.code == 0, outcome.stderr
    cluster.start(found)
    cluster.connect(found, ADDRESSES)
    return found


def test_both_are_nodes(machine: VirtualMachine):
    retry(lambda: cluster.ready(machine) == set(NODES), cluster.SETTLED_SECONDS, "both nodes are ready")
    print(cluster.kubectl(machine, "get", "nodes", "-o", "wide"))


def test_a_deployment_spreads_over_both_and_its_pods_talk(machine: VirtualMachine):
    cluster.deploy(machine)
    found = cluster.spread(machine)
    print(cluster.kubectl(machine, "get", "pods", "-o", "wide"))
    assert found[FIRST]["podIP"] != found[SECOND]["podIP"]
    before = {name: int(inside(machine, name, PACKETS)) for name in NODES}
    assert cluster.fetch(machine, FIRST, found) == node.GREETING
    assert cluster.fetch(machine, SECOND, found) == node.GREETING
    after = {name: int(inside(machine, name, PACKETS)) for name in NODES}
    print("packets over the vxlan:", before, after)
    assert all(after[name] > before[name] for name in NODES)


def test_a_node_is_drained_restarted_and_comes_back(machine: VirtualMachine):
    cluster.kubectl(machine, "drain", SECOND, "--ignore-daemonsets", "--timeout=100s")
    assert cluster.ready(machine) == {FIRST}
    assert SECOND not in cluster.pods(machine)
    machine.succeed(f"systemctl restart systemd-nspawn@{SECOND}")
    before = cluster.heard(machine)[SECOND]
    machine.wait_until_succeeds(f"systemctl -M {SECOND} is-system-running --wait", GUEST_SECONDS)
    cluster.connect(machine, ADDRESSES)
    cluster.kubectl(machine, "uncordon", SECOND)
    retry(lambda: cluster.heard(machine)[SECOND] != before, cluster.SETTLED_SECONDS, "the node reports anew")
    retry(lambda: cluster.ready(machine) == set(NODES), cluster.SETTLED_SECONDS, "both nodes are ready again")
    found = cluster.spread(machine)
    assert cluster.fetch(machine, FIRST, found) == node.GREETING
