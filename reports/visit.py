"""One host of a fleet as a report finds it: what the inventory wants there, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs.cluster import joined, nodes_of
from pyinfra_nspawn.specs.inventory import guests_from, settings_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    def planned(cls, host: str, data: Data, fleet: Callable[[], Mapping[str, Sequence[Guest]]]) -> Visit:
        """Return the visit to come, with what a host's data wants.

        + fleet: returns the guests of every host of the inventory; called for a host with nodes of a cluster

        Raises `InvalidSpecError` when the host's is not what `Guest` and `HostSettings` describe; when it has
        nodes of a cluster, also when another host's is not.
        """
        where = f"inventory of {host}"
        settings, guests = settings_from(data, where), guests_from(data, where)
        if nodes_of({host: guests}):
            guests = joined(host, fleet())
        return cls(host, settings, staggered(guests, settings.starts_at_once))
