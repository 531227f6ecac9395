"""Operations on guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.operations._archives import restoration_of
from pyinfra_nspawn.operations._converge import converge_guests
from pyinfra_nspawn.operations._look import current_host, current_state
from pyinfra_nspawn.operations._order import BackupOrder, NodeOrder, UpgradeOrder
from pyinfra_nspawn.operations._turns import rollbacks_of, turns_of
from pyinfra_nspawn.plans import guest as plans
from pyinfra_nspawn.plans import ready
from pyinfra_nspawn.plans.backup import backup_with
from pyinfra_nspawn.plans.k3s_node import k3s_node
from pyinfra_nspawn.plans.restore import restore_with, restored
from pyinfra_nspawn.plans.retention import retention
from pyinfra_nspawn.plans.rollback import rollback_to
from pyinfra_nspawn.plans.upgrade import upgrade_with
from pyinfra_nspawn.specs.archive import ArchiveData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.operations._converge import Commands
    from pyinfra_nspawn.specs import Guest, HostSettings
    from pyinfra_nspawn.specs.cluster import Node


@operation()
def each_guest(
    settings: HostSettings, guests: Sequence[Guest], stages: Sequence[plans.Stage] = plans.STAGES
) -> Commands:
    """Have all guests of a host deployed, defined and running, or absent.

    + settings: the inventory's `nspawn_host`
    + guests: all guests of the host
    + stages: what to do for each, in order; each is one of the operations below

    One command reads everything; the steps of a guest are one command; the guests that were started are
    awaited together in another. One guest's trouble keeps no other from being tried: the operation fails
    at its end, and the summary names the guest. Where the `state` of `settings` is `absent`, our files
    on the host are removed after the guests.

    **Example:**

    .. code:: python

        nspawn.each_guest(name="Guests", settings=HostSettings(), guests=(Guest(name="web"),))
    """
    yield from converge_guests(guests, stages, "all guests are as desired", settings, remotes=True)


@operation()
def adopt(guest: Guest) -> Commands:
    """Take over a guest that was made by hand, where the guest's `adopt` allows it.

    + guest: the guest

    Its stateroot in the host's /ostree is ours from then on, and it boots the deployment that it runs (or the
    only one that it has). Drop-ins, a .nspawn file and a unit of its own are moved aside, as
    `*.before-pyinfra-nspawn`. Without `adopt` all of that is refused.

    **Example:**

    .. code:: python

        nspawn.adopt(name="Adoption", guest=Guest(name="web", adopt=True))
    """
    yield from converge_guests((guest,), (plans.adopt,), "nothing to adopt")


@operation()
def definition(guest: Guest) -> Commands:
    """Write the files that define the guest, and have systemd load them.

    + guest: the guest

    The drop-ins of its unit, its credentials (0600), its directory (0700). Each is replaced in one step;
    systemd reloads only when a drop-in changed. A foreign drop-in is refused, unless `adopt` has moved it
    aside. A running guest whose definition changed is restarted with it, and goes back to the one it ran
    when it does not come up.

    **Example:**

    .. code:: python

        nspawn.definition(name="Definition", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.definition,), "the definition is as desired")


@operation()
def unit(guest: Guest) -> Commands:
    """Enable or disable the guest's unit, and start or stop the guest.

    + guest: the guest

    A started guest is awaited until it is healthy: it says `running`, and none of its units keeps
    restarting. The host fails after `start_timeout_seconds`, and when the guest is `degraded`, unless
    `on_degraded: report`.

    **Example:**

    .. code:: python

        nspawn.unit(name="Unit", guest=Guest(name="web"))
    """
    yield from converge_guests((guest,), (plans.unit,), "the guest is as desired")


@operation()
def absent(guest: Guest) -> Commands:
    """Stop and disable the guest's unit, and remove its files, credentials and deployments.

    + guest: the guest

    With the deployments goes its /etc. Its /var is kept, and a later guest of that name has it, unless
    `purge` is true. Anything foreign is left, or refused where it is in the way.

    **Example:**

    .. code:: python

        nspawn.absent(name="Absent", guest=Guest(name="web", state="absent"))
    """
    yield from converge_guests((guest,), (plans.absent,), "the guest is absent")


@operation()
def upgrade(
    guests: Sequence[Guest],
    settings: HostSettings | None = None,
    retry: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Commands:
    """Move the guests of a host to the commits that their sources name now, one after another.

    + guests: the guests, as desired in all else
    + settings: the inventory's `nspawn_host`; with them the host is checked first
    + retry: names of guests whose refused commit is tried again
    + after: names of hosts whose guests must have been upgraded before in this run

    A newer commit is pulled while the guest runs. Then the host stops the guest, deploys the commit with the
    guest's /etc merged into it, and starts it. It is kept if the guest comes up, has no failed unit that it
    had not before, and passes its own `checks`; else the guest goes back to what it ran, the host fails, and
    that commit is not tried again until the source moves. A controller that dies meanwhile changes nothing
    in that. After one guest that fails no other is tried in this run. Deployments that are no longer kept are
    removed: see the guest's `keep` and `pinned`.

    **Example:**

    .. code:: python

        nspawn.upgrade(name="Upgrade", guests=(Guest(name="web"),))
    """
    executing = current_state().is_executing
    stages = (plans.recover, upgrade_with(retry, planning=not executing), retention)
    order = UpgradeOrder(turns_of(current_state(), current_host(), "upgrade"), current_host().name, after)
    otherwise = "all guests boot what their sources name"
    yield from converge_guests(guests, stages, otherwise, settings, remotes=True, order=order)


@operation()
def rollback(guests: Sequence[Guest]) -> Commands:
    """Have guests boot the deployment that they booted before, with the /etc that it had then.

    + guests: the guests, as desired in all else

    Run once more, it rolls them forward again. A guest that does not come up goes back. The commit that a
    guest leaves is not tried again by an upgrade until the source moves. /var stays as it is.

    **Example:**

    .. code:: python

        nspawn.rollback(name="Rollback", guests=(Guest(name="web"),))
    """
    stages = (plans.recover, rollback_to(rollbacks_of(current_state(), current_host())))
    yield from converge_guests(guests, stages, "all guests boot what they booted before")


@operation()
def backup(guests: Sequence[Guest], settings: HostSettings | None = None, copied_to: str = "") -> Commands:
    """Write an archive of each of these guests on their host, and copy it to the controller if asked to.

    + guests: the guests
    + settings: the inventory's `nspawn_host`, for its `backup_key`
    + copied_to: a directory of the controller; none by default

    An archive holds a guest's /etc and /var, the commit that it boots, and its definition without secrets.
    The guest is stopped while that is read; where its files can share blocks (btrfs, xfs), only while they
    are copied. It is started again whatever becomes of the archive, and of the controller. Each run writes a
    new archive; the host keeps the guest's latest `backups` (0600, in /var/lib/pyinfra-nspawn/.backups).

    **Example:**

    .. code:: python

        nspawn.backup(name="Backup", guests=(Guest(name="web"),), copied_to="/srv/backups")
    """
    key = settings.backup_key if settings else ""
    stage = backup_with(current_host().name, key=key, copied_to=copied_to)
    stages = (plans.recover, stage)
    yield from converge_guests(guests, stages, "there is no guest to back up", order=BackupOrder())


@operation()
def restore(
    guest: Guest,
    settings: HostSettings | None = None,
    archive: str = "",
    identity: str = "same",
    original: str = "",
) -> Commands:
    """Restore a guest from an archive, on the host that it was taken on or on another.

    + guest: the guest, which the host must not have, nor the /var of one of its name
    + settings: the inventory's `nspawn_host`; with them the host is checked first
    + archive: the path of a file of the controller, or `host:FILE`; by default the latest that the host keeps
    + identity: `same`, or `new`: without the original's machine id, host name and SSH host keys
    + original: `gone` where the host that the archive was taken on cannot be asked

    The guest boots the archive's commit, from the host's repository or from the remote of its `source`. It is
    refused where the original runs on another host, or starts with it, unless it gets a new identity. The
    archive is unpacked in an isolated root, where it cannot reach the files of the host.

    **Example:**

    .. code:: python

        nspawn.restore(name="Restore", guest=Guest(name="web"), archive="/srv/web@lab1.tar")
    """
    given = {"restore_from": archive, "restore_as": identity, "restore_original": original}
    wanted = ArchiveData.of(given, "restore")
    restoration = restoration_of(guest, wanted)
    begin, finish = restore_with(restoration)
    stages = (
        *(plans.recover, begin, plans.stateroot, plans.commit, plans.deployment, finish),
        *(plans.k3s_place, plans.definition, plans.unit),
    )
    yield from converge_guests((restored(guest, restoration),), stages, "it was restored before", settings)


@operation()
def k3s_ready(guests: Sequence[Guest]) -> Commands:
    """Check that k3s can run in those guests of a host that have `k3s`.

    + guests: the guests

    Changes nothing. Each precondition is tested in the guest, or looked for on its host; the host fails where
    one is unmet or not known, with a hint. A dry run passes over guests that have other steps to come.

    **Example:**

    .. code:: python

        nspawn.k3s_ready(name="Ready for k3s", guests=(Guest(name="node", k3s=True),))
    """
    wanted = [guest for guest in guests if guest.k3s]
    stage, otherwise = ready.k3s_planned, "tested once the guests are as desired"
    if current_state().is_executing:
        stage, otherwise = ready.k3s_ready, "every precondition of k3s is met"
    yield from converge_guests(wanted, (stage,), otherwise, probed=ready.probed(wanted))


@operation()
def k3s_nodes(guests: Sequence[Guest], nodes: Sequence[Node] = ()) -> Commands:
    """Have k3s run in those of these guests for which a binary is given, each a node that is ready.

    + guests: guests that run
    + nodes: of all clusters of the inventory, in its order: their servers are asked to move pods away

    A node that is upgraded is drained before, unless its `drain` is False, and takes pods again once it is
    ready. One server of a cluster at a time, one host of agents at a time (data key `k3s_at_once`), and none
    after a node that failed, or before its servers are as desired; agents that only join wait for no other. A
    dry run of guests that do not run yet shows the steps that are due then.

    **Example:**

    .. code:: python

        nspawn.k3s_nodes(
            name="Nodes",
            guests=(Guest(name="node", k3s=K3s(binary=Artifact(path="k3s", sha256="0" * 64))),),
        )
    """
    wanted = [guest for guest in guests if guest.k3s and guest.k3s.binary and guest.state == "running"]
    host, state = current_host(), current_state()

    order = NodeOrder(wanted, lambda cluster: turns_of(state, host, "k3s", cluster))
    yield from converge_guests(wanted, (k3s_node(nodes),), "all nodes are ready", probed=wanted, order=order)
