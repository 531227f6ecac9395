"""A guest's sysroot: its stateroot, the commit it needs, the deployment it boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.facts.ostree import Commit, Sysroots
from pyinfra_nspawn.plans.adoption import adopted
from pyinfra_nspawn.plans.foreign import foreign
from pyinfra_nspawn.plans.plan import Plan, Step, refusal
from pyinfra_nspawn.plans.readable import readable

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
    + own: the sysroot that the guest is to be in; None while its stateroot is not there
    + other: the sysroot of the other kind, where the guest has its stateroot; None when it has none there
    + seen: the guest
    """

    host: Sysroot
    own: Sysroot | None
    other: Sysroot | None
    seen: GuestSeen

    def deployments(self, guest: Guest) -> tuple[Deployment, ...]:
        """Return the guest's deployments, in ostree's order."""
        return self.own.of_stateroot(guest.name) if self.own else ()

    def current(self, guest: Guest) -> Deployment | None:
        """Return the deployment that `current` points at; None when it is not there."""
        chosen = self.seen.current_deployment
        return next((item for item in self.deployments(guest) if item.id == chosen), None)

    def to_boot(self, guest: Guest, checksum: str | None) -> Deployment | None:
        """Return the guest's deployment of a commit; None when there is none.

        Of a guest that deploys for itself, the one that ostree lists first.
        """
        items = self.deployments(guest)
        return next((item for item in items if guest.source.guest or item.checksum == checksum), None)

    def moves(self, guest: Guest) -> bool:
        """Tell whether the guest comes from the other sysroot, with the deployment that it boots."""
        return self.other is not None and bool(self.other.of_stateroot(guest.name))


def look(
    guest: Guest,
    sysroots: HostSysroots | Unreadable,
    guests: dict[str, GuestSeen] | Unreadable,
) -> View | Plan:
    """Return what was seen for `guest`, or the refusal when it is unreadable or somebody else's."""
    read = readable(guest, sysroots, guests)
    if isinstance(read, Plan):
        return read
    host = read.host
    if refused := foreign(guest, read.seen, host):
        return refused
    seen = adopted(guest, read.seen, host)
    claimed = host if seen.stateroot else None
    if guest.sysroot == "private":
        return View(host, read.private, claimed, seen)
    own = claimed if guest.name in host.stateroots else None
    return _fallback(guest, host) or View(host, own, read.private, seen)


def _fallback(guest: Guest, host: Sysroot) -> Plan | None:
    """Refuse a guest in the boot list of a host that boots the second entry when the first fails."""
    if not host.fallback:
        return None
    sentence = (
        f"guest {guest.name}: this host uses {host.fallback}, which falls back to the second boot entry, "
        "and that would be the guest's: set `sysroot` to 'private'"
    )
    return Plan(refusals=(sentence,))


def stateroot(guest: Guest, view: View | Plan) -> Plan:
    """Make the guest's stateroot, in a sysroot of its own or in the host's; or move it there."""
    if isinstance(view, Plan):
        return view
    if view.other is not None:
        return _move(guest, view)
    if view.own is not None:
        return Plan()
    shared = guest.sysroot == "shared"
    where = "the host's /ostree" if shared else f"the OSTree sysroot {guest.directory}"
    made = (
        f"make stateroot {guest.name} in {where}" if shared else f"make {where} with stateroot {guest.name}"
    )
    # Without a deployment it is to the next plans what no stateroot is, but in the host's it must be ours.
    changes = (Guests,) if shared else ()
    script = "stateroot-shared" if shared else "stateroot"
    return Plan(steps=(Step(made, script, (guest.name,), changes=changes, guest=guest.name),))


def _move(guest: Guest, view: View) -> Plan:
    """Move a guest from one kind of sysroot into the other, with its deployment, /etc and /var."""
    running = view.seen.unit is not None and view.seen.unit.active
    if running and guest.on_change == "report":
        sentence = (
            f"guest {guest.name}: to move it into the {guest.sysroot} sysroot it has to be stopped, and "
            "`on_change` is 'report': stop it, then run again"
        )
        return Plan(refusals=(sentence,))
    if left := _left_behind(guest, view):
        sentence = (
            f"guest {guest.name}: a move into the {guest.sysroot} sysroot takes along only the deployment "
            f"that it boots, and it has more: remove {left} first, or leave it where it is"
        )
        return Plan(refusals=(sentence,))
    to, of = ("the host's /ostree", "its own sysroot")
    if guest.sysroot == "private":
        to, of = of, to
    how = "stop and move" if running else "move"
    step = Step(
        f"{how} guest {guest.name} from {of} into {to}, with its /etc and /var",
        "move",
        (guest.name, guest.sysroot),
        changes=(Sysroots, Guests),
    )
    return Plan(steps=(step,))


def _left_behind(guest: Guest, view: View) -> str:
    """Name what a move would destroy: other deployments of the guest, and refs that it made.

    Nothing of one that boots from where it is to be: what it has elsewhere is left of a move that was killed.
    """
    assert view.other is not None
    if not view.seen.current or view.seen.current.startswith(f"{guest.deployments}/"):
        return ""
    deployments = [item.id for item in view.other.of_stateroot(guest.name)]
    found = [f"deployment {name[:12]}" for name in deployments if name != view.seen.current_deployment]
    if guest.sysroot == "shared":
        # ostree's own are those of its deployments.
        found += [f"ref {name}" for name in sorted(view.other.refs) if not name.startswith("ostree/")]
    return ", ".join(found)


def commit(guest: Guest, view: View | Plan, presence: Callable[[str], str | Unreadable]) -> Plan:
    """Bring the source's commit into the guest's sysroot, by way of the host's repository.

    A guest that is deployed keeps its commit here: a source that has moved on is noted as `behind`.

    + presence: tells of a commit whether the host's repository has it: `present`, or something else
    """
    if isinstance(view, Plan):
        return view
    if view.moves(guest):
        return Plan()
    found = resolve(guest.source, view.host)
    booted = view.current(guest)
    if booted:
        return Plan(notes=(*_behind(guest, booted.checksum, found), *_deployed_itself(guest, view, booted)))
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    if view.to_boot(guest, found.commit):
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
    if guest.sysroot == "shared" and not remote:
        return Plan()
    return Plan(steps=(_pull(guest, found.commit, remote),))


def _behind(guest: Guest, booted: str, found: Found) -> tuple[str, ...]:
    if guest.source.guest or found.commit in (None, booted):
        return ()
    return (
        (
            f"guest {guest.name} is behind: it boots commit {booted[:12]}, "
            f"and {guest.source} is {found.commit[:12]} now"
        ),
    )


def _deployed_itself(guest: Guest, view: View, booted: Deployment) -> tuple[str, ...]:
    """Tell of a deployment that a guest without isolation made, and which it boots next or does not."""
    first = view.deployments(guest)[0]
    if guest.isolation != "none" or first.id == booted.id:
        return ()
    made = f"guest {guest.name} has deployed commit {first.checksum[:12]} itself"
    if guest.source.guest:
        return (f"{made}, and boots it when it starts next",)
    return (
        f"{made}, and boots {booted.checksum[:12]}: set `source` to 'guest' if it is to boot what it deploys",
    )


def _pull(guest: Guest, checksum: str | None, remote: str | None) -> Step:
    name = guest.source.commit or guest.source.ref or ""
    what = f"commit {checksum[:12]}" if checksum else f"ref {name}"
    origin = f"remote {remote}" if remote else "the host's /ostree"
    shared = guest.sysroot == "shared"
    into = "the host's /ostree" if shared else f"the sysroot of guest {guest.name}"
    return Step(
        f"pull {what} from {origin} into {into}",
        "pull-shared" if shared else "pull",
        (remote or "", name)
        if shared
        else (guest.name, checksum or "", remote or "", name if remote else ""),
        changes=(Sysroots, Commit) if remote else (),
    )


def deployment(guest: Guest, view: View | Plan) -> Plan:
    """Deploy the source's commit, unless the guest has a deployment to boot; never twice."""
    if isinstance(view, Plan):
        return view
    found = resolve(guest.source, view.host)
    if view.moves(guest) or view.current(guest) or view.to_boot(guest, found.commit):
        return Plan()
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    what = f"commit {found.commit[:12]}" if found.commit else str(guest.source)
    shared = guest.sysroot == "shared"
    where = "the host's /ostree, not as default" if shared else guest.directory
    return Plan(
        steps=(
            Step(
                f"deploy {what} in stateroot {guest.name} of {where}",
                "deploy-shared" if shared else "deploy",
                (guest.name, found.commit or ""),
                changes=(Sysroots,),
                guest="" if shared else guest.name,
            ),
        )
    )


def current(guest: Guest, view: View | Plan) -> Plan:
    """Point `current` at the deployment of the source's commit, when it points at none."""
    if isinstance(view, Plan):
        return view
    if view.moves(guest) or view.current(guest):
        return Plan()
    found = resolve(guest.source, view.host)
    if found.refused:
        return Plan(refusals=(f"guest {guest.name}: {found.refused}",))
    chosen = view.to_boot(guest, found.commit)
    what = f"deployment {chosen.id[:12]}" if chosen else f"the deployment of {guest.source}"
    arguments = (guest.name, f"{guest.deployments}/{chosen.id}" if chosen else "")
    sentence = f"let guest {guest.name} boot {what}"
    return Plan(steps=(Step(sentence, "current", arguments, changes=(Guests,), guest=guest.name),))
