"""One host of a fleet as a report finds it: what the inventory wants there, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs.cluster import joined, nodes_of
from pyinfra_nspawn.specs.inventory import guests_from, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.specs import Guest, HostSettings
    from pyinfra_nspawn.specs.inventory import Data


@dataclass(frozen=True)
class Visit:
    """A look at one host.

    + host: its name in the inventory
    + settings, guests: what the inventory wants there
    + snapshot: what was seen; None when the host could not be connected to
    + problem: why not, in one printable line
    """

    host: str
    settings: HostSettings
    guests: tuple[Guest, ...]
    snapshot: Snapshot | None = None
    problem: str = ""

    @classmethod
    def planned(cls, host: str, fleet: Mapping[str, Data]) -> Visit:
        """Return the visit to come, with what a host's data wants.

        + fleet: the data of every host of the inventory, by its name

        Raises `InvalidSpecError` when the host's is not what `Guest` and `HostSettings` describe; when it has
        nodes of a cluster, also when another host's is not.
        """
        settings = settings_from(fleet[host], f"inventory of {host}")
        return cls(host, settings, staggered(_guests(host, fleet), settings.starts_at_once))


def _guests(host: str, fleet: Mapping[str, Data]) -> tuple[Guest, ...]:
    guests = guests_from(fleet[host], f"inventory of {host}")
    if not nodes_of({host: guests}):
        return guests
    everyone = {name: guests_from(data, f"inventory of {name}") for name, data in fleet.items()}
    return joined(host, everyone)
