"""A real kubelet, kube-proxy, containerd and runc in a guest that is ready for k3s: its pods run, limited.

It is Kubernetes 1.20, the last that Debian had: it stands for what k3s asks of the kernel, not for k3s.
"""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.guest import inside
from tests.lab.kubelet import node
from tests.lab.script import script
from tests.lab.shell import retry
from tests.lab.vm.access import SSH_CONFIG
from tests.lab.vm.fleet import ADDRESS, UPLINK
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import GUEST_SECONDS, INVENTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

NAME = "node"
DEPLOYS = ("deploys/host.py", "deploys/network.py", "deploys/k3s.py")
SETTINGS = {"bridge": {"uplinks": [UPLINK], "confirm_seconds": 60}}
#: A port of this machine that leads to a port of the guest.
FORWARDED = 22098
OWN = "ip -4 -o address show dev host0 | grep -o '10.0.2.[0-9]*' | head -n 1"
PROXY = "/usr/bin/kube-proxy --master=http://127.0.0.1:1 --proxy-mode=iptables --hostname-override=other"

pytestmark = pytest.mark.kubelet


@pytest.fixture(scope="module", params=["private", "shared"])
def sysroot(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def machine(sysroot: str, have_up: Callable[[list[str]], Machines]) -> VirtualMachine:
    """A machine with a node, made from nothing by the deploys, and started."""
    found = have_up(["vm1"])["vm1"]
    found.load(BOOTED)
    node.install(found, SSH_CONFIG)
    wanted = [node.guest(NAME, sysroot)]
    words = ("-y", "--json", "--limit", "vm1", *DEPLOYS)
    outcome = pyinfra(*words, inventory=INVENTORY, nspawn_host=SETTINGS, guests=wanted)
    assert outcome.code == 0, outcome.stderr
    probed = script("k3s", "--json", INVENTORY, "--limit", "vm1", "--data", f"guests={json.dumps(wanted)}")
    assert probed.returncode == 0, probed.stdout
    node.start(found, NAME)
    return found


@pytest.fixture(scope="module")
def pods(machine: VirtualMachine) -> dict[str, dict]:
    return node.wait_for_pods(machine, NAME)


def fetched(port: int) -> str:
    with urllib.request.urlopen(f"http://{ADDRESS}:{port}/", timeout=10) as answer:
        return answer.read().decode().strip()


def test_a_pod_that_takes_too_much_memory_is_killed(pods: dict[str, dict]):
    (container,) = pods["glutton"]["containerStatuses"]
    assert container["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_pod_s_limit_is_that_of_its_control_group(machine: VirtualMachine, pods: dict[str, dict]):
    assert pods["server"]["phase"] == "Running"
    limits = inside(machine, NAME, "cat $(find /sys/fs/cgroup/kubepods.slice -name memory.max)")
    assert str(64 * 2**20) in limits.split()


def test_pods_reach_each_other(machine: VirtualMachine, pods: dict[str, dict]):
    address = pods["server"]["podIP"]
    assert address.startswith("10.42.0.")
    assert address != pods["client"]["podIP"]
    assert node.run_in(machine, NAME, pods["client"], node.fetching(address)) == node.GREETING


@pytest.mark.usefixtures("pods")
def test_a_pod_is_reached_from_outside_the_host(machine: VirtualMachine):
    address = inside(machine, NAME, OWN).strip()
    machine.forward(FORWARDED, address, node.PORT)
    assert retry(lambda: fetched(FORWARDED), 60, "a pod's port answers") == node.GREETING


@pytest.mark.usefixtures("pods")
def test_kube_proxy_has_no_trouble_with_conntrack(machine: VirtualMachine):
    log = "journalctl -u kube-proxy -o cat --no-pager"
    machine.wait_until_succeeds(
        f"systemd-run -M {NAME} -qPG sh -c '{log} | grep -q \"Starting service config controller\"'",
        GUEST_SECONDS,
    )
    said = inside(machine, NAME, log)
    assert "nf_conntrack_max" not in said
    assert inside(machine, NAME, "systemctl is-active kube-proxy") == "active\n"
    without = inside(machine, NAME, f"timeout 120 {PROXY} --conntrack-min=999999 2>&1 | tail -n 40; true")
    assert "nf_conntrack_max: permission denied" in without


def test_a_vxlan_carries_traffic_between_two_guests(machine: VirtualMachine, sysroot: str):
    wanted = [node.guest(NAME, sysroot), {"name": "other", "k3s": True}]
    words = ("-y", "--json", "--limit", "vm1", "deploys/k3s.py")
    outcome = pyinfra(*words, inventory=INVENTORY, nspawn_host=SETTINGS, guests=wanted)
    assert outcome.code == 0, outcome.stderr
    own = {
        name: retry(lambda: inside(machine, name, OWN).strip(), GUEST_SECONDS, f"{name} has an address")  # noqa: B023
        for name in (NAME, "other")
    }
    for number, (name, peer) in enumerate(((NAME, "other"), ("other", NAME)), start=1):
        inside(
            machine,
            name,
            f"ip link add vx type vxlan id 7 dstport 8472 local {own[name]} remote {own[peer]} && "
            f"ip address add 10.44.0.{number}/24 dev vx && ip link set vx up",
        )
    inside(machine, NAME, "busybox ping -c 3 -w 30 10.44.0.2")
    sent = inside(machine, "other", "cat /sys/class/net/vx/statistics/rx_packets")
    assert int(sent) >= 3


@pytest.mark.usefixtures("pods")
def test_pods_run_again_after_the_host_was_rebooted(machine: VirtualMachine):
    booted = machine.succeed("ostree admin status | grep -F '* host '")
    machine.reboot()
    assert machine.succeed("ostree admin status | grep -F '* host '") == booted
    machine.succeed("test -e /sys/class/net/br0")
    machine.wait_until_succeeds(f"systemctl -M {NAME} is-system-running --wait", GUEST_SECONDS)
    again = node.wait_for_pods(machine, NAME)
    command = node.fetching(again["server"]["podIP"])
    assert node.run_in(machine, NAME, again["client"], command) == node.GREETING
