"""Make guests nodes of k3s clusters, or ready for that: `pyinfra INVENTORY deploys/k3s.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from pyinfra_nspawn.deploys._inventory import guests_of_host, nodes_of_fleet
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.deploys.fleet import converge
from pyinfra_nspawn.operations import nspawn
from pyinfra_nspawn.specs.cluster import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.specs.cluster import Node


@deploy("k3s")
def k3s() -> None:
    """Converge each host, its bridge and its guests; test the preconditions of k3s; have its nodes ready.

    The first server of each cluster comes before its other servers, and these before its agents.
    """
    nodes = nodes_of_fleet()
    converge(nodes=nodes)
    if any(guest.k3s for guest in guests_of_host()):
        nspawn.k3s_ready(name="Ready", guests=guests_of_host())
    run_nodes(nodes)


def run_nodes(nodes: Sequence[Node]) -> None:
    """Have the current host's nodes ready, in three operations: first servers, other servers, agents.

    + nodes: of all clusters of the inventory, in its order
    """
    first, others, agents = in_order(nodes)
    # On three lines: pyinfra merges calls on one line, also in a loop, into one operation that all hosts run
    # side by side.
    _have_ready("First servers", first, nodes)
    _have_ready("Other servers", others, nodes)
    _have_ready("Agents", agents, nodes)


def _have_ready(name: str, group: Sequence[Node], nodes: Sequence[Node]) -> None:
    names = {node.guest.name for node in group if node.host == host.name}
    if names:
        wanted = tuple(guest for guest in guests_of_host() if guest.name in names)
        nspawn.k3s_nodes(name=name, guests=wanted, nodes=nodes)


if is_script(__file__):
    k3s()
