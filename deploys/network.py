"""Bridge hosts, without locking anybody out: `pyinfra INVENTORY deploys/network.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import network


@deploy("Network")
def bridges() -> None:
    """Have each host's bridge as the inventory wants it, unless the host cannot be reached then."""
    settings = settings_of_host()
    if settings.bridge:
        network.bridge(name="Bridge", settings=settings, guests=guests_of_host())


if is_script(__file__):
    bridges()
