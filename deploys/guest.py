"""Make, adopt, repair and remove the guests of a host: `pyinfra INVENTORY deploys/guest.py`."""

from pyinfra.api.deploy import deploy
from pyinfra.context import host as current_host

from pyinfra_nspawn.deploys._inventory import guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import host, nspawn, ostree


@deploy("Guests")
def guests() -> None:
    """Have every guest in the host's data deployed, defined and running, or absent; commits are not moved."""
    wanted = guests_of_host()
    host.preflight(name="Preflight", settings=settings_of_host(), guests=wanted)
    for guest in current_host.loop(wanted):  # type: ignore[no-untyped-call]
        # One guest's trouble does not keep the next from being tried: the verdict fails the host.
        if guest.adopt:
            nspawn.adopt(name="Adoption", guest=guest, _ignore_errors=True)
        if guest.state == "absent":
            nspawn.absent(name="Absent", guest=guest, _ignore_errors=True)
            continue
        ostree.stateroot(name="Stateroot", guest=guest, _ignore_errors=True)
        ostree.commit(name="Commit", guest=guest, _ignore_errors=True)
        ostree.deployment(name="Deployment", guest=guest, _ignore_errors=True)
        ostree.current(name="Current deployment", guest=guest, _ignore_errors=True)
        nspawn.definition(name="Definition", guest=guest, _ignore_errors=True)
        nspawn.unit(name="Unit", guest=guest, _ignore_errors=True)
    nspawn.verdict(name="Verdict")


if is_script(__file__):
    guests()
