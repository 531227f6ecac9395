"""Operations on a guest's OSTree sysroot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.operations._converge import converge_guests
from pyinfra_nspawn.plans import guest as plans

if TYPE_CHECKING:
    from pyinfra_nspawn.operations._converge import Commands
    from pyinfra_nspawn.specs import Guest


@operation()
def stateroot(guest: Guest) -> Commands:
    """Create the guest's stateroot, in an OSTree sysroot of its own or in the host's.

    + guest: the guest

    A private one lies in /var/lib/pyinfra-nspawn/NAME, out of the host's boot menu and deployment list; a
    shared one is a stateroot in the host's own sysroot. A guest that is in the other kind is stopped and
    moved, with its deployment, /etc and /var.

    **Example:**

    .. code:: python

        ostree.stateroot(name="Stateroot", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.stateroot,), "the stateroot exists")


@operation()
def commit(guest: Guest) -> Commands:
    """Pull the commit of the guest's source into the guest's sysroot.

    + guest: the guest

    Pulled from its remote into the host's repository first where the host lacks it; objects are hard
    links to the host's where both are on one file system. A guest that is deployed keeps its commit;
    when its source has moved on, the run reports that the guest is behind.

    **Example:**

    .. code:: python

        ostree.commit(name="Commit", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.commit,), "the commit is there")


@operation()
def deployment(guest: Guest) -> Commands:
    """Deploy the commit of the guest's source, once.

    + guest: the guest

    In the host's own sysroot it is deployed not as default, and retains all others; a default that moves
    all the same is set back, and reported. /boot must have space for its kernel.

    **Example:**

    .. code:: python

        ostree.deployment(name="Deployment", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.deployment,), "the deployment exists")


@operation()
def current(guest: Guest) -> Commands:
    """Point /var/lib/pyinfra-nspawn/NAME/current at the deployment that the guest boots.

    + guest: the guest

    The link is replaced in one step (rename(2)); a link to a deployment that exists is left alone.

    **Example:**

    .. code:: python

        ostree.current(name="Current deployment", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.current,), "the guest has a deployment to boot")
