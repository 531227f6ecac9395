"""Prepare hosts, bridge them and converge their guests, in one go: `pyinfra INVENTORY deploys/fleet.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.deploys.guest import guests
from pyinfra_nspawn.deploys.host import fit_for_guests
from pyinfra_nspawn.deploys.network import bridges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.specs.cluster import Node


@deploy("Fleet")
def converge(nodes: Sequence[Node] | None = None) -> None:
    """Make each host fit for guests, and have its bridge and its guests as desired.

    + nodes: of all clusters of the inventory; with them a guest that is removed leaves its cluster before
    """
    fit_for_guests()
    bridges()
    guests(nodes=nodes)


if is_script(__file__):
    converge()
