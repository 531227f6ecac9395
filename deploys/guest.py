"""Create, adopt, repair and remove the guests of a host: `pyinfra INVENTORY deploys/guest.py`."""

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
    recover,
    stateroot,
    unit,
)
from pyinfra_nspawn.reports.summary import summary_of


@deploy("Guests")
def guests() -> None:
    """Have every guest in the host's data deployed, defined and running, or absent; commits are not moved."""
    wanted = guests_of_host()
    summary_of(current_state()).expect(host.name, (guest.name for guest in wanted))
    nspawn.each_guest(
        name="Each guest",
        settings=settings_of_host(),
        guests=wanted,
        stages=(recover, adopt, absent, stateroot, commit, deployment, current, definition, unit),
    )


if is_script(__file__):
    guests()
