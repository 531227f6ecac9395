"""A guest that is a node: the files that it has beside k3s' own, its units, and its pods."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from tests.lab.guest import inside
from tests.lab.kubelet.bundle import IMAGE, KUBELET, Bundle
from tests.lab.paths import FILES
from tests.lab.shell import retry, run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.lab.protocol import Machine

#: Where a host has the bundle, and a guest.
ON_HOST, IN_GUEST = "/srv/kubelet", "/opt/kubelet"
BIND = {"source": ON_HOST, "target": IN_GUEST}
UNITS = ("bundle", "containerd", "kubelet", "kube-proxy")
#: By emulation, from the start of the units.
POD_SECONDS = 300
MEMORY = "16Mi"
PORT = 8080


def install(machine: Machine, ssh_config: Path, bundle: Bundle = KUBELET) -> None:
    """Bring a bundle to a host."""
    send = (
        'set -o pipefail; tar --create --directory="$1" usr | '
        'ssh -F "$2" "$3" "mkdir -p $4 && tar --extract --directory=$4"'
    )
    run("bash", "-ec", send, "bash", bundle.tree(), ssh_config, machine.name, ON_HOST)


def guest(name: str, sysroot: str) -> dict[str, Any]:
    """Return a guest for an inventory that is ready for k3s, with what makes it a node that runs pods."""
    given = {"name": name, "sysroot": sysroot, "k3s": True, "binds": [BIND]}
    return {**given, "files": {**files(UNITS), **PODS}}


def files(units: Iterable[str]) -> dict[str, str]:
    """Return what a node has in its /etc, with these units."""
    named = {
        **{f"/etc/systemd/system/{unit}.service": f"systemd/{unit}.service" for unit in units},
        "/etc/kubernetes/kubelet.json": "kubelet.json",
        "/etc/kubernetes/resolv.conf": "resolv.conf",
        "/etc/containerd/config.toml": "containerd.toml",
        "/etc/cni/net.d/10-pods.conflist": "pods.conflist",
    }
    return {path: (FILES / "kubelet" / file).read_text() for path, file in named.items()}


def _pod(
    name: str, *command: str, port: int = 0, memory: str = "64Mi", restart: str = "Always"
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", *command],
        "resources": {"limits": {"memory": memory}},
    }
    if port:
        container["ports"] = [{"containerPort": port, "hostPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "restartPolicy": restart},
    }


GREETING = "hello of a pod"
SERVE = (
    f"/bin/busybox mkdir /www && echo {GREETING} >/www/index.html && "
    f"exec /bin/busybox httpd -f -h /www -p {PORT}"
)
PODS = {
    f"/etc/kubernetes/manifests/{pod['metadata']['name']}.json": json.dumps(pod, indent=2)
    for pod in (
        _pod("server", "sh", "-ec", SERVE, port=PORT),
        _pod("client", "sleep", "2147483647"),
        _pod("glutton", "tail", "/dev/zero", memory=MEMORY, restart="Never"),
    )
}


def start(machine: Machine, name: str) -> None:
    """Enable the units, and hand kube-proxy the arguments that the guest's config.yaml has for it."""
    units = " ".join(f"{unit}.service" for unit in UNITS)
    listed = inside(machine, name, "sed -n 's/^kube-proxy-arg: //p' /etc/rancher/k3s/config.yaml")
    arguments = " ".join(f"--{argument}" for argument in json.loads(listed))
    inside(machine, name, f"echo '{arguments}' >/etc/kubernetes/kube-proxy.args")
    inside(machine, name, f"systemctl daemon-reload && systemctl enable --now {units}")


def pods(machine: Machine, name: str) -> dict[str, dict[str, Any]]:
    """Return what kubelet says of each pod, by the pod's name."""
    found = json.loads(inside(machine, name, "busybox wget -qO- http://127.0.0.1:10255/pods"))
    return {pod["metadata"]["name"].split("-")[0]: pod["status"] for pod in found["items"] or ()}


def wait_for_pods(machine: Machine, name: str) -> dict[str, dict[str, Any]]:
    """Wait until server and client run and the glutton has ended; return what kubelet says of each pod."""

    def settled() -> dict[str, dict[str, Any]] | None:
        found = pods(machine, name)
        ready = {pod for pod, status in found.items() if is_ready(status)}
        ended = {pod for pod, status in found.items() if status.get("phase") == "Failed"}
        return found if (ready, ended) == ({"server", "client"}, {"glutton"}) else None

    return retry(settled, POD_SECONDS, "two pods run, and the third has ended")


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether a pod has an address, and its container runs.

    + pod: its status
    """
    return "podIP" in pod and all(item["ready"] for item in pod.get("containerStatuses", [{"ready": False}]))


def run_in(machine: Machine, name: str, pod: dict[str, Any], command: str) -> str:
    """Return what a command printed in a pod of the guest.

    + pod: its status
    """
    container = pod["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    script = f"ctr --namespace=k8s.io task exec --exec-id=lab{secrets.token_hex(4)} {container} {command}"
    return inside(machine, name, script).strip()


def fetching(address: str) -> str:
    """Return the command by which a pod asks another one."""
    return f"/bin/busybox wget -qO- http://{address}:{PORT}/"
