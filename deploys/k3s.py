"""Make guests ready for k3s, and check that they are: `pyinfra INVENTORY deploys/k3s.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.deploys.guest import guests
from pyinfra_nspawn.deploys.host import fit_for_guests
from pyinfra_nspawn.operations import nspawn


@deploy("k3s")
def k3s() -> None:
    """Converge each host and its guests, and try in guests with `k3s` what k3s needs."""
    fit_for_guests()
    guests()
    if any(guest.k3s for guest in guests_of_host()):
        nspawn.k3s_ready(name="Ready", guests=guests_of_host())


if is_script(__file__):
    k3s()
