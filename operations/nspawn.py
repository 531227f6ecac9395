"""Operations upon a guest on its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.operations._run import carry_out, fail_for_troubled_guests, seen
from pyinfra_nspawn.plans.adoption import adoption as plan_adoption
from pyinfra_nspawn.plans.definition import definition as plan_definition
from pyinfra_nspawn.plans.removal import removal as plan_removal
from pyinfra_nspawn.plans.unit import unit as plan_unit

if TYPE_CHECKING:
    from pyinfra_nspawn.operations._run import Commands
    from pyinfra_nspawn.specs import Guest


@operation()
def adopt(guest: Guest) -> Commands:
    """Take over a guest that somebody made by hand, where the guest's `adopt` says so.

    + guest: the guest

    Its stateroot in the host's /ostree is ours from then on, and it boots the deployment that it runs (or the
    only one that it has). Drop-ins, a .nspawn file and a unit of its own are moved aside, as
    `*.before-pyinfra-nspawn`. Without `adopt` all of that is refused.
    """
    yield from carry_out(plan_adoption(guest, seen(Sysroots), seen(Guests)), "nothing to adopt", guest.name)


@operation()
def definition(guest: Guest) -> Commands:
    """Have the files that define the guest, and systemd know of them.

    + guest: the guest

    Its .nspawn file, the drop-ins of its unit, its credentials (0600), its directory (0700). Each is
    replaced in one step; systemd reloads only when a drop-in changed. A file in our place that is not
    ours, and any other drop-in of the unit, is refused, unless `adopt` has moved it aside.
    """
    yield from carry_out(plan_definition(guest, seen(Guests)), "the definition is as wanted", guest.name)


@operation()
def unit(guest: Guest) -> Commands:
    """Have the guest's unit enabled or not, and the guest running as it is defined, or stopped.

    + guest: the guest

    A guest whose running definition differs is restarted, or reported with `on_change: report`. A
    started guest is awaited until its own `systemctl is-system-running` says `running`; the host
    fails after `start_timeout_seconds`, and when the guest is `degraded`, unless `on_degraded: report`.
    """
    yield from carry_out(plan_unit(guest, seen(Guests)), "the guest is as wanted", guest.name)


@operation()
def absent(guest: Guest) -> Commands:
    """Have the guest's unit stopped and disabled, and its files, credentials and deployments removed.

    + guest: the guest

    With the deployments goes its /etc. Its /var is kept, and is there again for a later guest of that
    name, unless `purge` is true. Anything that is not ours is left, or refused where it is in the way.
    """
    plan = plan_removal(guest, seen(Sysroots), seen(Guests))
    yield from carry_out(plan, "the guest is absent", guest.name)


@operation()
def verdict() -> Commands:
    """Fail the host, naming them, when this run could not make some of its guests as wanted.

    For a deploy that tries every guest whatever became of the others: it gives their operations
    `_ignore_errors=True` and comes to this one last.
    """
    yield from fail_for_troubled_guests()
