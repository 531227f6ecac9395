"""Whether k3s can run in a guest: every precondition, as it was tried, with its source and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Literal

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.specs.k3s import AT_LEAST, MODULES, SYSCTLS, K3s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.facts.k3s import K3sProbe
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.step import Step
    from pyinfra_nspawn.specs import Guest

State = Literal["met", "unmet", "untried"]


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


@dataclass(frozen=True)
class Row:
    """A precondition, and what was found of it in one guest.

    + state: `untried` where it could not be tried, or where another one explains it
    + found: what was found; empty where it is met
    """

    precondition: Precondition
    state: State
    found: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether k3s would fail for it."""
        return self.state == "unmet" and self.precondition.severity == "error"


_DEFINED = "Set `k3s` for the guest and run deploys/k3s.py; else restart the guest."
_OWN_NETWORK = "Give the guest a network of its own: `bridge`, `veth` or `zone:NAME`."
_RUNC = "https://github.com/opencontainers/runc"
_KUBELET = "https://github.com/kubernetes/kubernetes/tree/master/pkg/kubelet"
_KUBE_PROXY = "https://github.com/kubernetes/kubernetes/tree/master/cmd/kube-proxy/app"
_K3S_AGENT = "https://github.com/k3s-io/k3s/tree/main/pkg/agent/syssetup"
_K3S_NETWORK = "https://docs.k3s.io/networking/basic-network-options"
_GUEST = ("real-root",)

PRECONDITIONS = (
    Precondition(
        "real-root",
        "the host's root, without a user namespace",
        "kubelet in a user namespace is experimental; it can set core_pattern: trust it as its host",
        "https://kubernetes.io/docs/tasks/administer-cluster/kubelet-in-userns/",
        "Set `k3s` for the guest and run deploys/k3s.py: it needs isolation `overlay`.",
    ),
    Precondition(
        "modules",
        ", ".join(MODULES),
        "a guest cannot load modules",
        "https://docs.k3s.io/installation/requirements",
        'Run deploys/k3s.py. Where "modprobe NAME" fails on the host, boot a kernel that has it.',
    ),
    Precondition(
        "sysctls",
        "the values that kubelet would write",
        "kubelet writes what differs, and fails: a guest's /proc/sys is read-only",
        f"{_KUBELET}/cm (setupKernelTunables)",
        "Run deploys/k3s.py, and look in /etc/sysctl.d for another file that sets it.",
    ),
    Precondition(
        "kernel-log",
        "/dev/kmsg opens",
        "kubelet reads it for processes that were killed for memory, and does not start without it",
        f"{_KUBELET}/oom",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "keyring",
        "keyctl is allowed",
        "runc joins a session keyring for each container",
        f"{_RUNC} (libcontainer/setns_init_linux.go)",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "bpf",
        "bpf is allowed",
        "runc loads a filter of devices for each container",
        f"{_RUNC} (libcontainer/cgroups/devices)",
        _DEFINED,
        after=_GUEST,
    ),
    Precondition(
        "controllers",
        "cpu, cpuset, memory and pids, delegated",
        "kubelet limits pods by them",
        "https://kubernetes.io/docs/concepts/architecture/cgroups/",
        "Remove DisableControllers= of the slices above the guest, and cgroup_disable= of the host's kernel.",
        after=_GUEST,
    ),
    Precondition(
        "overlay",
        "an overlay can be mounted on /var",
        "containerd makes the file systems of containers so",
        "https://docs.k3s.io/cli/server (snapshotter)",
        'Set `config: {"snapshotter": "native"}` for the guest.',
        after=_GUEST,
        modules=("overlay",),
    ),
    Precondition(
        "propagation",
        "/ is a shared mount",
        "volumes with mount propagation reach containers so",
        "https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation",
        'Run "mount --make-rshared /" in the guest.',
        after=_GUEST,
    ),
    Precondition(
        "conntrack-table",
        "/sys/module/nf_conntrack can be read",
        "kube-proxy reads the size of the table there",
        f"{_KUBE_PROXY}/conntrack.go",
        _DEFINED,
        after=_GUEST,
        modules=("nf_conntrack",),
    ),
    Precondition(
        "conntrack",
        "timeouts of conntrack can be written",
        "kube-proxy sets them",
        f"{_KUBE_PROXY}/conntrack.go",
        _OWN_NETWORK,
        after=_GUEST,
        modules=("nf_conntrack",),
    ),
    Precondition(
        "forwarding",
        "net.ipv4.ip_forward can be written",
        "k3s turns it on for pods",
        _K3S_AGENT,
        _OWN_NETWORK,
        after=_GUEST,
    ),
    Precondition(
        "bridge-filter",
        "net.bridge.bridge-nf-call-iptables can be written",
        "k3s turns it on for services",
        _K3S_AGENT,
        _OWN_NETWORK,
        after=_GUEST,
        modules=("br_netfilter",),
    ),
    Precondition(
        "bridge",
        "a bridge can be made",
        "flannel's CNI plugin connects pods by one",
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
        "nat rules can be made",
        "kube-proxy makes services of them",
        "https://kubernetes.io/docs/reference/networking/virtual-ips/",
        'Try "nft add table ip probe" in the guest: it says what the kernel lacks.',
        after=_GUEST,
        modules=("nf_tables", "nft_chain_nat"),
    ),
    Precondition(
        "space",
        "1 GiB and 6 % of /var",
        "kubelet evicts pods below 5 %, and images take room",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
        "Free some of the file system of the guest's /var.",
    ),
    Precondition(
        "ranges",
        "no network overlaps with those of pods and services",
        "packets to either would go astray",
        "https://docs.k3s.io/cli/server (cluster-cidr, service-cidr)",
        "Set `cluster-cidr` and `service-cidr` in `config`, or give the guest another network.",
    ),
    Precondition(
        "swap",
        "no swap",
        "memory limits count no swap; k3s starts all the same",
        "https://kubernetes.io/docs/concepts/architecture/nodes/#swap-memory",
        "Turn swap off on the host where pods' limits matter.",
        severity="note",
    ),
    Precondition(
        "clock",
        "a synchronized clock",
        "certificates and etcd compare times",
        "https://etcd.io/docs/latest/op-guide/hardware/",
        "Enable a time service on the host, such as chronyd.",
        severity="note",
    ),
)
"""Everything that is judged, in order: what explains others comes first."""

_SPACE_BYTES = 2**30
_SPACE_SHARE = 0.06
_OF_K3S = ("cni", "flannel", "veth", "kube-", "lo")
"""How links of a node are called that k3s makes."""


@dataclass(frozen=True)
class _Seen:
    """What one guest is judged by.

    + guest: the guest as it is wanted
    + snapshot: its host, with what was tried in the guest
    + probe: that
    """

    guest: Guest
    snapshot: Snapshot
    probe: K3sProbe

    @cached_property
    def host(self) -> Host:
        return readable("the host", self.snapshot.host)

    @cached_property
    def missing_modules(self) -> tuple[str, ...]:
        return tuple(name for name in MODULES if name not in self.host.modules)

    @cached_property
    def k3s(self) -> K3s:
        return self.guest.k3s or K3s()


def probed_for_k3s(guests: Iterable[Guest]) -> tuple[str, ...]:
    """Return the names of those guests that k3s is to run in."""
    return tuple(guest.name for guest in guests if guest.k3s and guest.state == "running")


def rows(guest: Guest, snapshot: Snapshot) -> tuple[Row, ...] | Unreadable | None:
    """Return every precondition of k3s as it was found in a guest.

    None where it was not probed: it did not run, or that was not asked for. `Unreadable` where it could not
    be determined. Raises `Refused` where the host could not be read.
    """
    probe = snapshot.k3s.guests.get(guest.name)
    if probe is None or isinstance(probe, Unreadable):
        return probe
    seen = _Seen(guest, snapshot, probe)
    found: dict[str, Row] = {}
    for precondition in PRECONDITIONS:
        found[precondition.name] = _row(precondition, seen, found)
    return tuple(found.values())


def k3s_ready(comparison: Comparison) -> Iterator[Step | Finding]:
    """Yield every precondition of k3s that a guest with `k3s` was found to lack."""
    guest = comparison.guest
    if guest.k3s is None or guest.state != "running":
        return
    found = rows(guest, comparison.snapshot)
    if isinstance(found, Unreadable):
        problem = f"what k3s needs could not be tried: {found.reason}"
        hint = f'Run "machinectl shell {guest.name}" on the host, and look what it runs.'
        yield Finding("unreadable", problem, hint, guest=guest.name, field="k3s", severity="error")
    for row in found if isinstance(found, tuple) else ():
        if row.state == "unmet":
            yield _finding(row, guest.name)


def _finding(row: Row, guest: str) -> Finding:
    precondition = row.precondition
    return Finding(
        "unfit",
        f"not ready for k3s: {precondition.name}: {row.found}",
        precondition.hint,
        guest=guest,
        field=f"k3s.{precondition.name}",
        wanted=precondition.needed,
        seen=row.found,
        severity=precondition.severity,
    )


def _row(precondition: Precondition, seen: _Seen, before: dict[str, Row]) -> Row:
    if lacking := [name for name in precondition.after if before[name].state != "met"]:
        return Row(precondition, "untried", f"needs {', '.join(lacking)}")
    if lacking := [name for name in precondition.modules if name in seen.missing_modules]:
        return Row(precondition, "untried", f"needs {', '.join(lacking)}")
    if judge := _JUDGES.get(precondition.name):
        found = judge(seen)
        return Row(precondition, "unmet" if found else "met", found)
    if precondition.name == "overlay" and seen.k3s.snapshotter != "overlayfs":
        return Row(precondition, "met")
    if precondition.name == "clock":
        synchronized = seen.snapshot.k3s.clock_synchronized
        return Row(precondition, _STATES[synchronized], "" if synchronized else "not synchronized")
    tried = seen.probe.tries[precondition.name]
    return Row(precondition, _STATES[tried.met], "" if tried.met else tried.said or "it fails")


_STATES: dict[bool | None, State] = {True: "met", False: "unmet", None: "untried"}


def _modules(seen: _Seen) -> str:
    return f"without {', '.join(seen.missing_modules)}" if seen.missing_modules else ""


def _sysctls(seen: _Seen) -> str:
    found = seen.host.sysctls
    own = {name: value for name, value in SYSCTLS.items() if not name.startswith("net.")}
    differs = [
        f"{name} is {found.get(name, 'missing')}, not {value}"
        for name, value in own.items()
        if found.get(name) != value
    ]
    low = [
        f"{name} is {found[name]}, below {least}"
        for name, least in AT_LEAST.items()
        if name in found and int(found[name]) < least
    ]
    return "; ".join([*differs, *low])


def _space(seen: _Seen) -> str:
    free, size = seen.probe.free_bytes, seen.probe.size_bytes
    enough = free >= _SPACE_BYTES and free >= size * _SPACE_SHARE
    return "" if enough else f"{free // 2**20} of {size // 2**20} MiB are free"


def _swap(seen: _Seen) -> str:
    return ", ".join(seen.probe.swaps)


def _ranges(seen: _Seen) -> str:
    """Return the networks that overlap with those of pods and services; the links of k3s itself do."""
    taken = {
        f"{route.network} ({route.link})": route.network
        for route in seen.probe.routes
        if not route.link.startswith(_OF_K3S)
    }
    network = seen.snapshot.network
    for link in () if isinstance(network, Unreadable) else network.links.values():
        taken |= {
            f"{address} (the host's {link.name})": str(ip_interface(address).network)
            for address in link.addresses
        }
    clashes = [
        f"{label} overlaps with {key} {cidr}"
        for key, cidrs in seen.k3s.ranges.items()
        for cidr in cidrs
        for label, network in taken.items()
        if _overlap(cidr, network)
    ]
    return "; ".join(sorted(clashes))


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)


_JUDGES: dict[str, Callable[[_Seen], str]] = {
    "modules": _modules,
    "sysctls": _sysctls,
    "space": _space,
    "swap": _swap,
    "ranges": _ranges,
}
"""What says what is wrong with a precondition, and nothing where it is met."""
