"""A guest's sysroot: its stateroot, the commit it needs, the deployment it boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.facts.ostree import Commit, Sysroots
from pyinfra_nspawn.plans.foreign import foreign
from pyinfra_nspawn.plans.plan import Plan, Step, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
    from pyinfra_nspawn.specs import Guest, Source


@dataclass(frozen=True)
class Found:
    """What a source comes to on a host.

    + commit: None while the remote has not been asked
    + refused: why the source cannot be had; empty when it can
    """

    commit: str | None = None
    refused: str = ""


def resolve(source: Source, host: Sysroot) -> Found:
    """Find the commit that `source` names in the host's repository."""
    if source.commit:
        return Found(source.commit)
    if source.refspec:
        return _resolve_ref(source, host)
    if host.booted is None:
        return Found(refused="`source: host` needs a host that was booted from OSTree; name a commit")
    return Found(host.booted.base_commit)


def _resolve_ref(source: Source, host: Sysroot) -> Found:
    commit = host.refs.get(source.refspec or "")
    if commit or source.remote in host.remotes:
        return Found(commit)
    if source.remote:
        return Found(refused=f"the host knows no remote {source.remote}: add it with `ostree remote add`")
    return Found(
        refused=f"the host's repository has no ref {source.ref}: pull it, or write REMOTE:{source.ref}"
    )


@dataclass(frozen=True)
class View:
    """All that a plan for one guest's sysroot looks at.

    + host: the host's own sysroot
    + own: the guest's sysroot; None when there is none yet
    + seen: the guest
    """

    host: Sysroot
    own: Sysroot | None
    seen: GuestSeen

    def deployments(self, guest: Guest) -> tuple[Deployment, ...]:
        """Return the guest's deployments, in ostree's order."""
        return self.own.of_stateroot(guest.name) if self.own else ()

    def current(self, guest: Guest) -> Deployment | None:
        """Return the deployment that `current` points at; None when it is not there."""
        chosen = self.seen.current_deployment
        return next((item for item in self.deployments(guest) if item.id == chosen), None)

    def of_commit(self, guest: Guest, checksum: str | None) -> Deployment | None:
        """Return the guest's deployment of a commit; None when there is none."""
        items = self.deployments(guest)
        return next((item for item in items if item.checksum == checksum), None)


def look(
    guest: Guest,
    sysroots: HostSysroots | Unreadable,
    guests: dict[str, GuestSeen] | Unreadable,
) -> View | Plan:
    """Return what was seen for `guest`, or the refusal when it is unreadable or somebody else's."""
    if isinstance(sysroots, Unreadable):
        return refusal("the host's OSTree sysroots", sysroots)
    if isinstance(sysroots.host, Unreadable):
        return refusal("the host's OSTree sysroot", sysroots.host)
    own = sysroots.guests.get(guest.name)
    if isinstance(own, Unreadable):
        return refusal(f"the OSTree sysroot of guest {guest.name}", own, of_host=False)
    if isinstance(guests, Unreadable):
        return refusal("the host's guests", guests)
    seen = guests.get(guest.name, GuestSeen())
    return foreign(guest, seen) or View(sysroots.host, own, seen)


def stateroot(guest: Guest, view: View | Plan) -> Plan:
    """Make the guest's own sysroot, with its stateroot in it."""
    if isinstance(view, Plan):
        return view
    if view.own is not None:
        return Plan()
    return Plan(
        steps=(
            Step(
                f"make the OSTree sysroot {guest.directory} with stateroot {guest.name}",
                "stateroot",
                (guest.name,),
                # A sysroot without a deployment is to the next plans what no sysroot is.
                changes=(),
            ),
        )
    )


def commit(guest: Guest, view: View | Plan, presence: Callable[[str], str | Unreadable]) -> Plan:
    """Bring the source's commit into the guest's sysroot, by way of the host's repository.

    A guest that is deployed keeps its commit here: a source that has moved on is noted as `behind`.

    + presence: tells of a commit whether the host's repository has it: `present`, or something else
    """
    if isinstance(view, Plan):
        return view
    found = resolve(guest.source, view.host)
    booted = view.current(guest)
    if booted:
        return _behind(guest, booted.checksum, found)
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    if view.of_commit(guest, found.commit):
        return Plan()
    there = presence(guest.source.commit) if guest.source.commit else "present"
    if isinstance(there, Unreadable):
        return refusal(f"commit {guest.source.commit} in the host's repository", there, of_host=False)
    missing = there != "present"
    if missing and guest.source.remote not in view.host.remotes:
        return Plan(
            refusals=(
                (
                    f"guest {guest.name}: the host's repository has no commit {found.commit}: "
                    "pull it, or write REMOTE:COMMIT with a remote that the host knows"
                ),
            )
        )
    remote = guest.source.remote if missing or found.commit is None else None
    return Plan(steps=(_pull(guest, found.commit, remote),))


def _behind(guest: Guest, booted: str, found: Found) -> Plan:
    if found.commit is None or found.commit == booted:
        return Plan()
    return Plan(
        notes=(
            (
                f"guest {guest.name} is behind: it boots commit {booted[:12]}, "
                f"and {guest.source} is {found.commit[:12]} now"
            ),
        )
    )


def _pull(guest: Guest, checksum: str | None, remote: str | None) -> Step:
    name = guest.source.commit or guest.source.ref or ""
    what = f"commit {checksum[:12]}" if checksum else f"ref {name}"
    origin = f"remote {remote}" if remote else "the host's /ostree"
    return Step(
        f"pull {what} from {origin} into the sysroot of guest {guest.name}",
        "pull",
        (guest.name, checksum or "", remote or "", name if remote else ""),
        changes=(Sysroots, Commit) if remote else (),
    )


def deployment(guest: Guest, view: View | Plan) -> Plan:
    """Deploy the source's commit, unless the guest has a deployment to boot; never twice."""
    if isinstance(view, Plan):
        return view
    found = resolve(guest.source, view.host)
    if view.current(guest) or view.of_commit(guest, found.commit):
        return Plan()
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    what = f"commit {found.commit[:12]}" if found.commit else str(guest.source)
    return Plan(
        steps=(
            Step(
                f"deploy {what} in stateroot {guest.name} of {guest.directory}",
                "deploy",
                (guest.name, found.commit or ""),
                changes=(Sysroots,),
                guest=guest.name,
            ),
        )
    )


def current(guest: Guest, view: View | Plan) -> Plan:
    """Point `current` at the deployment of the source's commit, when it points at none."""
    if isinstance(view, Plan):
        return view
    if view.current(guest):
        return Plan()
    found = resolve(guest.source, view.host)
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    chosen = view.of_commit(guest, found.commit)
    what = f"deployment {chosen.id[:12]}" if chosen else f"the deployment of {guest.source}"
    arguments = (guest.name, chosen.id if chosen else "")
    sentence = f"let guest {guest.name} boot {what}"
    return Plan(steps=(Step(sentence, "current", arguments, changes=(Guests,), guest=guest.name),))
