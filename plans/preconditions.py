"""The preconditions of k3s: what each needs, why, who says so, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyinfra_nspawn.specs.k3s import AT_LEAST, MODULES


@dataclass(frozen=True)
class Precondition:
    """What k3s needs.

    + name: as reports have it
    + needed: what must be so
    + why: who needs it, and for what
    + source: where that is said, or done
    + hint: what to do where it is unmet
    + after: preconditions without which this one cannot be judged
    + modules: modules of the kernel without which it cannot be judged
    + severity: `note` for what k3s starts without
    """

    name: str
    needed: str
    why: str
    source: str
    hint: str
    after: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    severity: Literal["error", "note"] = "error"


CONNECTIONS = AT_LEAST["net.netfilter.nf_conntrack_max"]
_DEFINED = "Set `k3s` and run deploys/k3s.py. If it is set, restart the guest."
_OWN_NETWORK = "Give the guest a network of its own: `bridge`, `veth` or `zone:NAME`."
_KUBERNETES = "https://github.com/kubernetes/kubernetes/tree/master"
_KUBE_PROXY = f"{_KUBERNETES}/pkg/proxy/conntrack"
_K3S_AGENT = "https://github.com/k3s-io/k3s/tree/main/pkg/agent/syssetup"
_K3S_NETWORK = "https://docs.k3s.io/networking/basic-network-options"
_GUEST = ("real-root",)

PRECONDITIONS = (
    Precondition(
        "real-root",
        "no user namespace: its root is root on the host",
        "kubelet in a user namespace is experimental",
        "https://kubernetes.io/docs/tasks/administer-cluster/kubelet-in-userns/",
        "Set `k3s` for the guest and run deploys/k3s.py: it needs isolation `overlay`.",
    ),
    Precondition(
        "modules",
        ", ".join(MODULES),
        "modprobe fails in a guest",
        "https://docs.k3s.io/installation/requirements",
        'Run deploys/k3s.py. Where "modprobe NAME" fails on the host, boot a kernel that has it.',
    ),
    Precondition(
        "sysctls",
        "the values that kubelet would write",
        "kubelet writes those that differ, and a guest's /proc/sys is read-only",
        f"{_KUBERNETES}/pkg/kubelet/cm (setupKernelTunables)",
        "Run deploys/k3s.py, and look in /etc/sysctl.d for another file that sets it.",
    ),
    Precondition(
        "kernel-log",
        "/dev/kmsg opens",
        "kubelet reads it for OOM kills, and does not start without it",
        f"{_KUBERNETES}/pkg/kubelet/oom",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "keyring",
        "keyctl is allowed",
        "runc joins a session keyring for each container",
        "https://github.com/opencontainers/runc (libcontainer/standard_init_linux.go)",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "bpf",
        "bpf is allowed",
        "runc loads a filter of devices for each container",
        "https://github.com/opencontainers/cgroups (devices)",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "controllers",
        "cpu, cpuset, memory and pids, delegated",
        "kubelet limits pods with them",
        "https://kubernetes.io/docs/concepts/architecture/cgroups/",
        "Remove DisableControllers= of the slices above the guest, and cgroup_disable= of the host's kernel.",
        after=_GUEST,
    ),
    Precondition(
        "overlay",
        "an overlay mounts on /var",
        "containerd mounts the root file systems of containers with it",
        "https://docs.k3s.io/cli/server (snapshotter)",
        'Set `config: {"snapshotter": "native"}` in `k3s`.',
        after=_GUEST,
        modules=("overlay",),
    ),
    Precondition(
        "propagation",
        "/ is a shared mount",
        "volumes with mount propagation need it",
        "https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation",
        'Run "mount --make-rshared /" in the guest.',
        after=_GUEST,
    ),
    Precondition(
        "conntrack-table",
        "/sys/module/nf_conntrack is readable",
        "kube-proxy reads the size of the table there, unless told not to tune it",
        _KUBE_PROXY,
        _DEFINED,
        after=_GUEST,
        modules=("nf_conntrack",),
        severity="note",
    ),
    Precondition(
        "conntrack",
        "timeouts of conntrack are writable",
        "k3s sets them, and logs an error where it cannot",
        _K3S_AGENT,
        _OWN_NETWORK,
        after=_GUEST,
        modules=("nf_conntrack",),
        severity="note",
    ),
    Precondition(
        "connections",
        f"nf_conntrack_max of {CONNECTIONS} or more",
        "kube-proxy would raise it, which no guest can",
        _KUBE_PROXY,
        "Run deploys/k3s.py, and look in /etc/sysctl.d for another file that sets it.",
        severity="note",
    ),
    Precondition(
        "forwarding",
        "net.ipv4.ip_forward is writable",
        "k3s turns it on for pods",
        _K3S_AGENT,
        _OWN_NETWORK,
        after=_GUEST,
    ),
    Precondition(
        "bridge-filter",
        "net.bridge.bridge-nf-call-iptables is writable",
        "k3s turns it on for services",
        _K3S_AGENT,
        _OWN_NETWORK,
        after=_GUEST,
        modules=("br_netfilter",),
    ),
    Precondition(
        "bridge",
        "a bridge can be made",
        "flannel connects the pods of a node by one",
        _K3S_NETWORK,
        _OWN_NETWORK,
        after=_GUEST,
    ),
    Precondition(
        "vxlan",
        "a vxlan can be made",
        "flannel connects nodes by one",
        _K3S_NETWORK,
        _OWN_NETWORK,
        after=_GUEST,
        modules=("vxlan",),
    ),
    Precondition(
        "filter",
        "nat chains can be made",
        "kube-proxy implements services with them",
        "https://kubernetes.io/docs/reference/networking/virtual-ips/",
        'Run "nft list ruleset" in the guest, and look for what its kernel lacks.',
        after=_GUEST,
        modules=("nf_tables", "nft_chain_nat"),
    ),
    Precondition(
        "space",
        "1 GiB and 6 % of /var are free",
        "kubelet as k3s sets it up evicts pods below 5 %, and images take room",
        "https://docs.k3s.io/installation/requirements",
        "Free some of the file system of the guest's /var.",
    ),
    Precondition(
        "ranges",
        "no network overlaps with those of pods and services",
        "packets would be misrouted",
        "https://docs.k3s.io/cli/server (cluster-cidr, service-cidr)",
        "Set `cluster-cidr` and `service-cidr` in `config`, or give the guest another network.",
    ),
    Precondition(
        "swap",
        "no swap",
        "limits of memory do not count it; k3s starts all the same",
        "https://kubernetes.io/docs/concepts/architecture/nodes/#swap-memory",
        "Turn swap off on the host where limits of pods matter.",
        severity="note",
    ),
    Precondition(
        "clock",
        "a synchronized clock",
        "certificates are valid from and until a time",
        "https://docs.k3s.io/cli/certificate",
        "Enable a time service on the host, such as chronyd.",
        severity="note",
    ),
)
"""Everything that is judged, in order: what explains others comes first."""
