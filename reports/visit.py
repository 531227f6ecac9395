"""One host of a fleet as a report finds it: what the inventory wants there, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs.inventory import guests_from, settings_from

if TYPE_CHECKING:
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
    def planned(cls, host: str, data: Data) -> Visit:
        """Return the visit to come, with what a host's data wants.

        Raises `InvalidSpecError` when that is not what `Guest` and `HostSettings` describe.
        """
        where = f"inventory of {host}"
        settings = settings_from(data, where)
        return cls(host, settings, staggered(guests_from(data, where), settings.starts_at_once))
