"""Move guests to the commits that their sources name now: `pyinfra INVENTORY deploys/upgrade.py`."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from pyinfra_nspawn.deploys._inventory import (
    guests_of_host,
    named_in_data,
    refuse_unknown,
    settings_of_host,
    upgrade_waves,
)
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import nspawn


@deploy("Upgrade")
def upgrade() -> None:
    """Upgrade the guests of each host, one at a time, in waves of hosts (data key `upgrade_waves`).

    A guest that does not come up goes back, and ends the upgrade of its host and of the waves after it.
    """
    # `host.loop`: operations of a plain loop would be one, which all hosts run side by side.
    refuse_unknown("retry", named_in_data().retry)
    waves = upgrade_waves()
    for number in host.loop(range(len(waves))):
        if host.name in waves[number]:
            nspawn.upgrade(
                name=f"Wave {number + 1}",
                settings=settings_of_host(),
                guests=guests_of_host(),
                retry=named_in_data().retry,
                after=tuple(name for wave in waves[:number] for name in wave),
            )


if is_script(__file__):
    upgrade()
