"""Prepare a host for guests: `pyinfra INVENTORY deploys/host.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import host


@deploy("Host")
def fit_for_guests() -> None:
    """Check the host, and give it what guests need: systemd-container, machines.target, limits."""
    host.fit_for_guests(name="Fit for guests", settings=settings_of_host(), guests=guests_of_host())


if is_script(__file__):
    fit_for_guests()
