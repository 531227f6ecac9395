"""k3s in a guest: what it needs of the guest and of its host."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from pyinfra_nspawn.specs.base import Items, Line, Spec
from pyinfra_nspawn.specs.bind import Bind
from pyinfra_nspawn.specs.file import File
from pyinfra_nspawn.specs.names import matching

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.guest import Guest

CONFIG = "/etc/rancher/k3s/config.yaml"
MODULES_FILE = "/etc/modules-load.d/60-pyinfra-nspawn-k3s.conf"
SYSCTLS_FILE = "/etc/sysctl.d/60-pyinfra-nspawn-k3s.conf"

MODULES = ("br_netfilter", "nf_conntrack", "nf_tables", "nft_chain_nat", "nft_compat", "overlay", "vxlan")
"""A guest cannot load them: https://docs.k3s.io/installation/requirements, and `k3s check-config`."""
SYSCTLS = {
    # kubelet wants these and writes what differs; in a guest /proc/sys is read-only, and that is fatal:
    # pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
    # With br_netfilter the host's own firewall would see the frames of bridged guests. k3s sets its own
    # namespace's.
    "net.bridge.bridge-nf-call-arptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-iptables": "0",
}

AT_LEAST = {"net.netfilter.nf_conntrack_max": 131072}
"""What only the host can raise, and its guests share: kube-proxy's `conntrack-min`."""

# kube-proxy would raise nf_conntrack_max, which only the host can: 0 leaves it as it is (cmd/kube-proxy).
_OWN = {"kube-proxy-arg": ["conntrack-max-per-core=0"]}

# https://docs.k3s.io/cli/server; k3s reads /etc/rancher/k3s/config.yaml.d/*.yaml too.
_SECRETS = (
    *("token", "agent-token", "datastore-endpoint", "vpn-auth"),
    *("etcd-s3-access-key", "etcd-s3-secret-key", "etcd-s3-session-token"),
)

_RANGES = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
"""The networks of pods and of services, and what k3s takes by itself."""

Label = Annotated[Line, matching(r"[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*", "must be like KEY=VALUE")]
NodeName = Annotated[
    Line, matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "must be a DNS name in lower case")
]


class K3s(Spec):
    """The inventory's `k3s` of a guest: `True`, or what its config.yaml says.

    The guest has isolation `overlay`, all capabilities, the system calls and devices that runc and kubelet
    need, and its host the modules and sysctls, now and at boot. Such a guest is as trusted as its host.

    + node_name: by default k3s takes the guest's hostname
    + node_labels: of the node, `KEY=VALUE`
    + tls_names: names and addresses in the certificate of the API server
    + config: what else config.yaml says, by key as in https://docs.k3s.io/cli/server. `kube-proxy-arg` is
      added to ours
    """

    node_name: NodeName | None = None
    node_labels: Annotated[tuple[Label, ...], Items] = ()
    tls_names: Annotated[tuple[Line, ...], Items] = ()
    config: dict[Line, bool | int | Line | list[Line]] = Field(default={})

    @field_validator("config")
    @classmethod
    def _without_secrets(cls, config: dict[str, object]) -> dict[str, object]:
        for key in _SECRETS:
            if key in config:
                raise ValueError(f"{key} is a secret; write it in `files`, below {CONFIG}.d")
        for network in (text for key in _RANGES for text in _listed(config.get(key))):
            ip_network(network)  # its own words are fit for people
        return config

    @property
    def ranges(self) -> dict[str, tuple[str, ...]]:
        """The networks of pods and of services, by their keys in config.yaml."""
        return {key: tuple(_listed(self.config.get(key, default))) for key, default in _RANGES.items()}

    @property
    def snapshotter(self) -> str:
        """What makes the file systems of containers."""
        return str(self.config.get("snapshotter", "overlayfs"))

    def to_yaml(self) -> str:
        """Return config.yaml: a key a line, with a value in JSON, which is YAML too."""
        named = {
            "node-name": self.node_name,
            "node-label": list(self.node_labels),
            "tls-san": list(self.tls_names),
        }
        values = {**_OWN, **{key: value for key, value in named.items() if value}, **self.config}
        given = self.config.get("kube-proxy-arg", [])
        values["kube-proxy-arg"] = [
            *_OWN["kube-proxy-arg"],
            *(given if isinstance(given, list) else [str(given)]),
        ]
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(values.items()))


def _listed(value: object) -> list[str]:
    """Return the items of a value of config.yaml that is a list, or a text with commas."""
    if value is None:
        return []
    return list(map(str, value)) if isinstance(value, list) else str(value).split(",")


def _from_true(value: object) -> object:
    return {} if value is True else value


K3sOrTrue = Annotated[K3s, BeforeValidator(_from_true)]


def with_k3s(guest: Guest) -> Guest:
    """Return a guest with all that k3s needs of it; unchanged without `k3s`."""
    if guest.k3s is None:
        return guest
    config = File(content=SecretStr(guest.k3s.to_yaml()), mode="0600")
    given = {bind.source for bind in guest.binds}
    # kube-proxy reads the size of the conntrack table in /sys/module, which nspawn's /sys lacks.
    needed = (Bind(source=path) for path in ("/sys/module", "/usr/lib/modules") if path not in given)
    tasks = guest.limits.tasks_max or "infinity"
    return guest.model_copy(
        update={
            "isolation": "overlay",
            "binds": (*guest.binds, *needed),
            "capabilities": ("all",),
            # runc joins a session keyring and loads device filters. systemd-nspawn's own list lacks
            # open_by_handle_at(2), which opens files past all mounts; no group of calls may bring it in.
            "system_calls": (*guest.system_calls, "@keyring", "bpf", "perf_event_open", "~open_by_handle_at"),
            "devices": (
                *(item for item in guest.devices if not item.startswith("/dev/kmsg ")),
                "/dev/kmsg r",
            ),
            "limits": guest.limits.model_copy(update={"tasks_max": tasks}),
            "files": {**guest.files, CONFIG: config},
        }
    )
