"""Back up guests: `pyinfra INVENTORY deploys/backup.py [--data backup=NAME] [--data backup_to=DIRECTORY]`."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import (
    archive_data,
    guests_of_host,
    named_in_data,
    refuse_unknown,
    settings_of_host,
)
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import nspawn


@deploy("Backup")
def backup() -> None:
    """Write an archive of each guest of a host, or of those that `--data backup=NAME` names.

    One guest is down at a time. The archives stay on the host; with `--data backup_to=DIRECTORY` each is
    copied to the controller too.
    """
    names = named_in_data().backup
    refuse_unknown("backup", names)
    present = [guest for guest in guests_of_host() if guest.state != "absent"]
    wanted = [guest for guest in present if not names or guest.name in names]
    if wanted:
        nspawn.backup(
            name="Backup", guests=wanted, settings=settings_of_host(), copied_to=archive_data().backup_to
        )


if is_script(__file__):
    backup()
