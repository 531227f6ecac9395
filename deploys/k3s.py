"""Make guests ready for k3s, and check that they are: `pyinfra INVENTORY deploys/k3s.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.deploys.fleet import converge
from pyinfra_nspawn.operations import nspawn


@deploy("k3s")
def k3s() -> None:
    """Converge each host, its bridge and its guests; test the preconditions of k3s in guests with `k3s`."""
    converge()
    if any(guest.k3s for guest in guests_of_host()):
        nspawn.k3s_ready(name="Ready", guests=guests_of_host())


if is_script(__file__):
    k3s()
