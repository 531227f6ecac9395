"""The clusters of an inventory: which guests are their nodes, and which server the others join."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.k3s import API_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyinfra_nspawn.specs.guest import Guest
    from pyinfra_nspawn.specs.k3s import K3s


@dataclass(frozen=True)
class Node:
    """A guest in which k3s is placed.

    + host: the name of its host in the inventory
    + guest: the guest, with its `k3s`
    """

    host: str
    guest: Guest

    @property
    def k3s(self) -> K3s:
        """The guest's k3s; raises `TypeError` for a guest without."""
        if self.guest.k3s is None:
            raise TypeError(f"{self.guest.name} has no k3s")
        return self.guest.k3s

    @property
    def is_absent(self) -> bool:
        """Whether its guest is removed."""
        return self.guest.state == "absent"

    @property
    def name(self) -> str:
        """The name by which its cluster knows it."""
        return node_name(self.guest)

    @property
    def address(self) -> str | None:
        """Its first static address; None without one."""
        addresses = self.guest.network.addresses
        return str(ip_interface(addresses[0]).ip) if addresses else None

    @property
    def url(self) -> str | None:
        """Where its API server answers; None without a static address."""
        if self.address is None:
            return None
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{API_PORT}"


def node_name(guest: Guest) -> str:
    """Return the name of a guest's node.

    k3s itself takes the hostname, in lower case as Kubernetes has it.
    """
    given = guest.k3s.node_name if guest.k3s else None
    return given or (guest.hostname or guest.name).lower()


def nodes_of(guests: Mapping[str, Sequence[Guest]]) -> tuple[Node, ...]:
    """Return the nodes of all clusters in the order of the inventory, those of absent guests too.

    + guests: of every host, by the host's name
    """
    return tuple(
        Node(host, guest)
        for host, on_host in guests.items()
        for guest in on_host
        if guest.k3s and guest.k3s.binary
    )


def in_order(nodes: Sequence[Node]) -> tuple[list[Node], list[Node], list[Node]]:
    """Return the first servers of the clusters, their other servers and their agents.

    In this order nodes start, and are upgraded.
    """
    present = [node for node in nodes if not node.is_absent]
    servers = [node for node in present if node.k3s.role == "server"]
    first = {node.k3s.cluster: node for node in reversed(servers)}.values()
    return (
        [node for node in servers if node in first],
        [node for node in servers if node not in first],
        [node for node in present if node not in servers],
    )


def before(guest: Guest, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the names of the nodes that are changed before a guest's.

    The first server comes before the others of its cluster, and all servers before the agents.
    """
    if guest.k3s is None:
        return ()
    cluster = guest.k3s.cluster
    servers = [node for node in nodes if node.k3s.cluster == cluster and node.k3s.role == "server"]
    running = [node.name for node in servers if node.guest.state == "running"]
    if guest.k3s.role == "agent":
        return tuple(running)
    return tuple(name for name in running[:1] if name != node_name(guest))


def joined(host: str, guests: Mapping[str, Sequence[Guest]]) -> tuple[Guest, ...]:
    """Return the guests of a host, each with what makes it a node of its cluster.

    + guests: of every host, by the host's name

    Raises `InvalidSpecError` for a cluster without a server to join, with two tokens, or with two nodes of
    one name.
    """
    return tuple(
        _joined(Node(host, guest), guests) if guest.k3s and guest.k3s.binary else guest
        for guest in guests[host]
    )


def _joined(node: Node, guests: Mapping[str, Sequence[Guest]]) -> Guest:
    guest, k3s = node.guest, node.guest.k3s
    if k3s is None or guest.state == "absent":
        return guest
    nodes = [item for item in nodes_of(guests) if item.k3s.cluster == k3s.cluster and not item.is_absent]
    servers = [item for item in nodes if item.k3s.role == "server"]
    _refuse_twins(node, nodes)
    update: dict[str, object] = {"node_name": node.name}
    if not k3s.server and servers and servers[0] == node:
        update["cluster_init"] = len(servers) > 1 if k3s.cluster_init is None else k3s.cluster_init
    else:
        update["server"] = k3s.server or _url(node, servers)
    if k3s.token is None and (len(nodes) > 1 or "server" in update):
        raise _error(node, "token: is needed in a cluster of several nodes, the same for each")
    return guest.model_copy(update={"k3s": k3s.model_copy(update=update)})


def _refuse_twins(node: Node, nodes: Sequence[Node]) -> None:
    for other in nodes:
        if other == node:
            continue
        if other.name == node.name:
            raise _error(node, f"node_name: {other.guest.name} on {other.host} is node {node.name} too")
        if other.k3s.token != node.k3s.token:
            raise _error(node, f"token: {other.guest.name} on {other.host} has another")


def _url(node: Node, servers: Sequence[Node]) -> str:
    """Return where the first server of the cluster answers; its own addresses are in its certificate."""
    if not servers:
        raise _error(node, f"server: cluster {node.k3s.cluster} has no server; give its URL")
    first = servers[0]
    if first.url is None:
        problem = f"{first.guest.name} on {first.host} has no static address"
        raise _error(node, f"server: {problem}; give it one in `network`, or give its URL")
    return first.url


def _error(node: Node, problem: str) -> InvalidSpecError:
    return InvalidSpecError(f"inventory of {node.host}", f"{node.guest.name}: k3s.{problem}")
