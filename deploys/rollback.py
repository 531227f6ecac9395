"""Have guests boot what they booted before: `pyinfra INVENTORY deploys/rollback.py --data rollback=NAME`."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host, named_in_data, refuse_unknown
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import nspawn


@deploy("Rollback")
def rollback() -> None:
    """Roll back those guests that `--data rollback=NAME` names; and forward again, if run once more."""
    names = named_in_data().rollback
    refuse_unknown("rollback", names)
    wanted = [guest for guest in guests_of_host() if guest.name in names]
    if wanted:
        nspawn.rollback(name="Rollback", guests=wanted)


if is_script(__file__):
    rollback()
