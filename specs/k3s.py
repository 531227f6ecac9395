"""k3s in a guest: what it needs of the guest and of its host."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from pyinfra_nspawn.specs.artifact import Artifact
from pyinfra_nspawn.specs.base import Items, Line, Secret, Spec
from pyinfra_nspawn.specs.names import matching

CONFIG = "/etc/rancher/k3s/config.yaml"
TOKEN = "/etc/rancher/k3s/cluster-token"
SERVICE = "/etc/systemd/system/k3s.service"
PREPARE = "/etc/rancher/k3s/prepare"
PROFILE = "/etc/profile.d/k3s.sh"
NODE_FILES = (CONFIG, SERVICE, PREPARE, PROFILE, TOKEN)
"""What a node's guest has of ours in its /etc; facts/k3s.sh reads them in this order."""
PLACE = "/usr/lib/k3s"
"""Where a guest sees the binary; its /usr is a layer that nspawn makes mount points in."""
IMAGES = "/var/lib/rancher/k3s/agent/images"
"""Where k3s looks for archives of images (https://docs.k3s.io/installation/airgap)."""
API_PORT = 6443

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

# k3s passes over files with another suffix (pkg/agent/containerd).
_ARCHIVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.(tar|tar\.gz|tgz|tar\.zst|tar\.lz4|tar\.bz2)")

_RANGES = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
"""The networks of pods and of services, and what k3s takes by itself."""

Label = Annotated[Line, matching(r"[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*", "must be like KEY=VALUE")]
NodeName = Annotated[
    Line, matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "must be a DNS name in lower case")
]
ClusterName = Annotated[
    Line, matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "must be letters, digits and '-', in lower case")
]
ServerUrl = Annotated[
    Line, matching(r"https://[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}", "must be like https://192.0.2.10:6443")
]


def _one_word(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or text.split() != [text]:
        raise ValueError("must be one word")
    return secret


Token = Annotated[Secret, AfterValidator(_one_word)]

# What the fields below write into config.yaml of a guest whose k3s is placed.
_FIELDS = {
    "cluster-init": "cluster_init",
    "node-label": "node_labels",
    "node-name": "node_name",
    "server": "server",
    "tls-san": "tls_names",
    "token-file": "token",
    "with-node-id": "node_name",
}
# What nodes find each other by, and pyinfra-nspawn their state.
_FIXED = {"data-dir", "disable-agent", "https-listen-port", "write-kubeconfig"}
_OF_BINARY = ("images", "role", "server", "cluster_init", "token")


class K3s(Spec):
    """The inventory's `k3s` of a guest: `True`, or a node of a cluster.

    The guest has isolation `overlay`, all capabilities, the system calls and devices that runc and kubelet
    need, and its host the modules and sysctls, now and at boot. Such a guest is as trusted as its host.

    + binary: k3s itself, an `Artifact`. None by default: the guest is ready for k3s, and none is placed
    + images: archives of images for guests without a registry, each an `Artifact`
    + role: `server` (by default) or `agent`
    + cluster: the guests of an inventory with the same are one cluster; `default` by default. Its first
      server in the order of the inventory is the one that the others join
    + server: the URL of a server to join, where that is not one of the inventory
    + cluster_init: keep the cluster in etcd instead of SQLite; by default with several servers. False for
      a datastore of your own
    + token: the secret by which nodes join; every node of a cluster needs the same, but for a server alone
    + node_name: by default the guest's hostname
    + node_labels: of the node, `KEY=VALUE`
    + tls_names: names and addresses in the certificate of the API server
    + config: what else config.yaml says, by key as in https://docs.k3s.io/cli/server. `kube-proxy-arg` is
      added to ours
    + drain: move pods away before a node is upgraded or removed; True by default
    + drain_seconds: how long that may take; 300 by default
    + ready_seconds: how long a node may take until it is ready; 300 by default
    """

    binary: Artifact | None = None
    images: Annotated[tuple[Artifact, ...], Items] = ()
    role: Literal["server", "agent"] = "server"
    cluster: ClusterName = "default"
    server: ServerUrl | None = None
    cluster_init: bool | None = None
    token: Token | None = None
    node_name: NodeName | None = None
    node_labels: Annotated[tuple[Label, ...], Items] = ()
    tls_names: Annotated[tuple[Line, ...], Items] = ()
    config: dict[Line, bool | int | Line | list[Line]] = Field(default={})
    drain: bool = True
    drain_seconds: int = Field(default=300, gt=0, le=86400)
    ready_seconds: int = Field(default=300, gt=0, le=86400)

    @field_validator("config")
    @classmethod
    def _without_secrets(cls, config: dict[str, object]) -> dict[str, object]:
        for key in _SECRETS:
            if key in config:
                raise ValueError(f"{key} is a secret; write it in `files`, below {CONFIG}.d")
        for network in (text for key in _RANGES for text in _listed(config.get(key))):
            ip_network(network)  # its own words are fit for people
        return config

    @model_validator(mode="after")
    def _place_something(self) -> K3s:
        if self.binary is None:
            if given := [field for field in _OF_BINARY if field in self.model_fields_set]:
                raise ValueError(f"{', '.join(given)}: needs `binary`; without one nothing is placed")
            return self
        if taken := sorted(_FIELDS.keys() & self.config.keys()):
            raise ValueError(f"config: {taken[0]}: use the field {_FIELDS[taken[0]]} in its place")
        if fixed := sorted(_FIXED & self.config.keys()):
            raise ValueError(f"config: {fixed[0]}: cannot be changed, for others rely on it; remove it")
        return self

    @model_validator(mode="after")
    def _join_as_agent(self) -> K3s:
        if self.role == "agent" and (self.tls_names or self.cluster_init):
            raise ValueError("tls_names, cluster_init: are only for servers")
        return self

    @model_validator(mode="after")
    def _name_images(self) -> K3s:
        names = [archive.name for archive in self.images]
        for name in names:
            if not _ARCHIVE.fullmatch(name):
                raise ValueError(
                    f"images: {name!r} is no name of an archive; k3s reads .tar, .tar.gz, .tar.zst"
                )
            if names.count(name) > 1:
                raise ValueError(f"images: more than one is called {name}")
        return self

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The files to place, by path below the guest's directory of k3s."""
        if self.binary is None:
            return {}
        return {"k3s": self.binary, **{f"images/{archive.name}": archive for archive in self.images}}

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
            "server": self.server,
            "cluster-init": self.cluster_init,
            "token-file": TOKEN if self.token else None,
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
