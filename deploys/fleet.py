"""Prepare hosts, bridge them and converge their guests, in one go: `pyinfra INVENTORY deploys/fleet.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.deploys.guest import guests
from pyinfra_nspawn.deploys.host import fit_for_guests
from pyinfra_nspawn.deploys.network import bridges


@deploy("Fleet")
def converge() -> None:
    """Make each host fit for guests, and have its bridge and its guests as desired."""
    fit_for_guests()
    bridges()
    guests()


if is_script(__file__):
    converge()
