"""A cluster of two guests of one host: the first has the control plane, both are nodes."""

from __future__ import annotations

import json
import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.lab.guest import inside
from tests.lab.kubelet import node
from tests.lab.kubelet.bundle import IMAGE
from tests.lab.shell import retry, run

if TYPE_CHECKING:
    from tests.lab.protocol import Machine

FIRST, SECOND = NODES = ("first", "second")
CONTROL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
UNITS = ("bundle", "containerd", "kubelet")
ADMIN = "/etc/kubernetes/admin.json"
ETC = "/etc/kubernetes"
#: By emulation.
SETTLED_SECONDS = 900


def guests(address: str) -> list[dict[str, Any]]:
    """Return both guests for an inventory.

    + address: of the first
    """
    key = _key()
    admin = json.dumps(_kubeconfig(f"https://{address}:6443"))
    control = {f"{ETC}/tokens.csv": f"{_token()},admin,1,system:masters\n", f"{ETC}/accounts.key": key}
    return [
        _guest(FIRST, 0, {**node.files((*UNITS, *CONTROL)), **control, ADMIN: admin}),
        _guest(SECOND, 1, {**node.files(UNITS), ADMIN: admin}),
    ]


def _guest(name: str, number: int, files: dict[str, str]) -> dict[str, Any]:
    network = "/etc/cni/net.d/10-pods.conflist"
    joins = f"--kubeconfig={ADMIN} --hostname-override={name}"
    unit = "/etc/systemd/system/kubelet.service"
    changed = {
        network: files[network].replace("10.42.0.", f"10.42.{number}."),
        unit: files[unit].replace("--config=", f"{joins} --config="),
    }
    return {"name": name, "k3s": True, "binds": [node.BIND], "files": {**files, **changed}}


@cache
def _token() -> str:
    return secrets.token_hex(16)


@cache
def _key() -> str:
    return run("openssl", "genrsa", "2048")


def _kubeconfig(server: str) -> dict[str, Any]:
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": _token()}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }


def start(machine: Machine) -> None:
    """Start the control plane, and both nodes."""
    for name, units in ((FIRST, (*UNITS, *CONTROL)), (SECOND, UNITS)):
        listed = " ".join(f"{unit}.service" for unit in units)
        inside(machine, name, f"systemctl daemon-reload && systemctl enable --quiet {listed}")
        inside(machine, name, f"systemctl start --no-block {listed}")


def connect(machine: Machine, addresses: dict[str, str]) -> None:
    """Have a vxlan carry what pods of one node send to those of the other, as flannel does it."""
    for number, (name, peer) in enumerate(((FIRST, SECOND), (SECOND, FIRST))):
        ends = f"local {addresses[name]} remote {addresses[peer]}"
        other = 1 - number
        inside(
            machine,
            name,
            f"ip link show vx >/dev/null 2>&1 || ip link add vx type vxlan id 7 dstport 8472 {ends}; "
            f"ip address replace 10.44.0.{number + 1}/24 dev vx; ip link set vx up; "
            f"ip route replace 10.42.{other}.0/24 via 10.44.0.{other + 1}; "
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
        )


def kubectl(machine: Machine, *words: str) -> Any:
    """Return what kubectl printed, as JSON where that is asked for."""
    said = inside(machine, FIRST, f"kubectl --kubeconfig={ADMIN} {' '.join(words)}")
    return json.loads(said) if "json" in words else said


def ready(machine: Machine) -> set[str]:
    """Return the names of the nodes that are ready for pods."""
    found = kubectl(machine, "get", "nodes", "-o", "json")["items"]
    return {
        item["metadata"]["name"]
        for item in found
        if not item["spec"].get("unschedulable")
        and any(it["type"] == "Ready" and it["status"] == "True" for it in item["status"]["conditions"])
    }


def heard(machine: Machine) -> dict[str, str]:
    """Return when each node last reported its state."""
    found = kubectl(machine, "get", "nodes", "-o", "json")["items"]
    return {
        item["metadata"]["name"]: next(
            it["lastHeartbeatTime"] for it in item["status"]["conditions"] if it["type"] == "Ready"
        )
        for item in found
    }


def deploy(machine: Machine) -> None:
    """Have two pods, on different nodes."""
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-ec", node.SERVE],
    }
    spread = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    labels = {"app": "web"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "affinity": spread},
            },
        },
    }
    inside(machine, FIRST, f"kubectl --kubeconfig={ADMIN} apply -f - <<'E'\n{json.dumps(deployment)}\nE")


def pods(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return the status of the running pod on each node."""
    found = kubectl(machine, "get", "pods", "-l", "app=web", "-o", "json")["items"]
    return {
        item["spec"]["nodeName"]: item["status"]
        for item in found
        if item["status"]["phase"] == "Running" and "deletionTimestamp" not in item["metadata"]
    }


def spread(machine: Machine) -> dict[str, dict[str, Any]]:
    """Wait until a pod runs on each node; return their status."""

    def settled() -> dict[str, dict[str, Any]] | None:
        found = pods(machine)
        return found if set(found) == set(NODES) else None

    return retry(settled, SETTLED_SECONDS, "a pod on each node")


def fetch(machine: Machine, name: str, found: dict[str, dict[str, Any]]) -> str:
    """Return what the pod of a node is told by the pod of the other.

    + found: the status of both
    """
    (other,) = set(NODES) - {name}
    return node.run_in(machine, name, found[name], node.fetching(found[other]["podIP"]))
