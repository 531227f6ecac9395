"""Create, adopt, repair and remove the guests of a host: `pyinfra INVENTORY deploys/guest.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from pyinfra_nspawn.deploys._inventory import guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import nspawn
from pyinfra_nspawn.operations._look import current_state
from pyinfra_nspawn.plans.guest import (
    absent,
    adopt,
    commit,
    current,
    definition,
    deployment,
    k3s_place,
    recover,
    stateroot,
    unit,
)
from pyinfra_nspawn.plans.k3s_node import k3s_leave
from pyinfra_nspawn.reports.summary import summary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.specs.cluster import Node


@deploy("Guests")
def guests(nodes: Sequence[Node] | None = None) -> None:
    """Have every guest in the host's data deployed, defined and running, or absent; commits are not moved.

    + nodes: of all clusters of the inventory; with them a guest that is removed leaves its cluster before
    """
    wanted = guests_of_host()
    leave = () if nodes is None else (k3s_leave(nodes),)
    summary_of(current_state()).expect(host.name, (guest.name for guest in wanted))
    nspawn.each_guest(
        name="Each guest",
        settings=settings_of_host(),
        guests=wanted,
        stages=(
            recover,
            adopt,
            *leave,
            absent,
            stateroot,
            commit,
            deployment,
            current,
            k3s_place,
            definition,
            unit,
        ),
    )


if is_script(__file__):
    guests()
