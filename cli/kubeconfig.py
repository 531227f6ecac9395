"""The kubeconfig of a cluster's administrator, made anew out of what a server of k3s says."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard

import yaml

from pyinfra_nspawn.connectors.secret import written_beside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyinfra_nspawn.specs.cluster import Node

PATH = "/etc/rancher/k3s/k3s.yaml"
"""Where a server of k3s writes it (https://docs.k3s.io/cluster-access)."""
MOST_BYTES = 2**16


@dataclass(frozen=True)
class Credentials:
    """What an administrator proves to be one with, each in base64.

    + authority: the certificate of the authority that signed the server's
    + certificate, key: the administrator's own
    """

    authority: str
    certificate: str
    key: str = field(repr=False)


def server_of(cluster: str, nodes: Sequence[Node]) -> Node | None:
    """Return the first server of a cluster that should run; None without one."""
    return next((node for node in _servers(nodes) if node.k3s.cluster == cluster), None)


def clusters_with_servers(nodes: Sequence[Node]) -> list[str]:
    """Return the names of the clusters with a server that should run."""
    return sorted({node.k3s.cluster for node in _servers(nodes)})


def _servers(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.k3s.role == "server" and node.guest.state == "running"]


def credentials_in(answer: bytes) -> Credentials | None:
    """Return the credentials in a guest's kubeconfig; None where it is not one that k3s writes.

    The guest decides what the file holds, perhaps an `exec` that `kubectl` would run. Ignore all else in it.
    """
    try:
        # Not safe_load: merge keys (`<<`) grow without bounds in it, and tags (`!!int ""`) raise anything.
        said = yaml.load(answer, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    match said:
        case {
            "clusters": [{"cluster": {"certificate-authority-data": str(authority)}}, *_],
            "users": [
                {"user": {"client-certificate-data": str(certificate), "client-key-data": str(key)}},
                *_,
            ],
        } if all(map(_is_base64, (authority, certificate, key))):
            return Credentials(authority, certificate, key)
    return None


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def kubeconfig(name: str, server: str, credentials: Credentials) -> str:
    """Return a kubeconfig of one cluster.

    + name: of the cluster, its user and its context
    + server: its URL
    """
    cluster = {"server": server, "certificate-authority-data": credentials.authority}
    user = {"client-certificate-data": credentials.certificate, "client-key-data": credentials.key}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False)


def merged(old: bytes, new: str) -> str | None:
    """Return an existing kubeconfig with what a new one has; None where the existing one is none.

    Clusters, users and contexts of the same name are replaced. All else stays, each value as it is written:
    only YAML's nodes are moved, for a value that is read and written again may change (`on`, a time).
    """
    try:
        root, more = (yaml.compose(text, Loader=yaml.BaseLoader) for text in (old, new))
        if not (_is_kubeconfig(root) and _is_kubeconfig(more)):
            return None
        for key, value in more.value:
            _put(root, key, value)
        return yaml.serialize(root, Dumper=yaml.BaseDumper, width=2**20, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        return None


def _is_kubeconfig(root: yaml.Node | None) -> TypeGuard[yaml.MappingNode]:
    if not isinstance(root, yaml.MappingNode):
        return False
    lists = [_value(root, key) for key in ("clusters", "users", "contexts")]
    kind = _value(root, "kind")
    return isinstance(kind, yaml.ScalarNode) and kind.value == "Config" and all(map(_is_list, lists))


def _is_list(node: yaml.Node | None) -> bool:
    """Return whether this is a list of mappings, or nothing."""
    if isinstance(node, yaml.SequenceNode):
        return all(isinstance(item, yaml.MappingNode) for item in node.value)
    return _is_empty(node)


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.value in {"", "~", "null"})


def _put(root: yaml.MappingNode, key: yaml.ScalarNode, value: yaml.Node) -> None:
    """Add the items of a list, in the place of those of the same name; add another value where none is."""
    old = _value(root, key.value)
    if isinstance(old, yaml.SequenceNode):
        names = {_name(item) for item in value.value}
        old.value = [item for item in old.value if _name(item) not in names] + value.value
        old.flow_style = False
    elif _is_empty(old):
        root.value = [pair for pair in root.value if pair[0].value != key.value] + [(key, value)]


def _value(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for known, value in node.value if known.value == key), None)


def _name(item: yaml.MappingNode) -> object:
    name = _value(item, "name")
    return name.value if isinstance(name, yaml.ScalarNode) else None


def save(target: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step."""
    with written_beside(target, text) as new:
        new.replace(target)
