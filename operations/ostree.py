"""Operations upon a guest's OSTree sysroot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.facts.ostree import Commit, Sysroots
from pyinfra_nspawn.operations._run import carry_out, seen
from pyinfra_nspawn.plans import sysroot as plans

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.base import Unreadable
    from pyinfra_nspawn.operations._run import Commands
    from pyinfra_nspawn.plans import Plan
    from pyinfra_nspawn.specs import Guest


def _look(guest: Guest) -> plans.View | Plan:
    return plans.look(guest, seen(Sysroots), seen(Guests))


def _presence(commit: str) -> str | Unreadable:
    return seen(Commit, commit=commit)


@operation()
def stateroot(guest: Guest) -> Commands:
    """Have the guest's stateroot, in an OSTree sysroot of its own or in the host's.

    + guest: the guest

    A private one lies in /var/lib/pyinfra-nspawn/NAME, out of the host's boot menu and deployment list; a
    shared one is a stateroot in the host's own sysroot. A guest that is in the other kind is stopped and
    moved, with its deployment, /etc and /var.
    """
    yield from carry_out(plans.stateroot(guest, _look(guest)), "the stateroot is there", guest.name)


@operation()
def commit(guest: Guest) -> Commands:
    """Have the commit of the guest's source in the guest's sysroot.

    + guest: the guest

    Pulled from its remote into the host's repository first where the host lacks it; objects are hard
    links to the host's where both are on one file system. A guest that is deployed keeps its commit;
    when its source has moved on, the run says that the guest is behind.
    """
    yield from carry_out(plans.commit(guest, _look(guest), _presence), "the commit is there", guest.name)


@operation()
def deployment(guest: Guest) -> Commands:
    """Have a deployment for the guest to boot: one of its source's commit, and never two of it.

    + guest: the guest

    In the host's own sysroot it is deployed not as default, and retains all others; a default that moves
    all the same is set back, and told. /boot must have space for its kernel.
    """
    yield from carry_out(plans.deployment(guest, _look(guest)), "the deployment is there", guest.name)


@operation()
def current(guest: Guest) -> Commands:
    """Have /var/lib/pyinfra-nspawn/NAME/current point at the deployment that the guest boots.

    + guest: the guest

    The link is replaced in one step (rename(2)); a link to a deployment that is there is left alone.
    """
    yield from carry_out(plans.current(guest, _look(guest)), "the guest has a deployment to boot", guest.name)
