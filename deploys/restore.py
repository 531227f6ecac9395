"""Restore a guest: `pyinfra INVENTORY deploys/restore.py --data restore=NAME [--data restore_from=FILE]`."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import host

from pyinfra_nspawn.deploys._inventory import archive_data, guest_to_restore, guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import nspawn


@deploy("Restore")
def restore() -> None:
    """Restore the guest that `--data restore=NAME` names, from its host's latest archive or from another."""
    where, name = guest_to_restore()
    if host.name != where:
        return
    (guest,) = (item for item in guests_of_host() if item.name == name)
    if guest.state == "absent":
        raise PyinfraError(f"restore: the `state` of guest {name} is 'absent'. Set it to 'running'.")
    data = archive_data()
    nspawn.restore(
        name="Restore",
        guest=guest,
        settings=settings_of_host(),
        archive=data.restore_from,
        identity=data.restore_as,
        original=data.restore_original,
    )


if is_script(__file__):
    restore()
