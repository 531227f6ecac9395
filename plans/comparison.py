"""A guest as the inventory wants it beside the guest as its host has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.plans.adopt import adopted
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.render import Definition, define
from pyinfra_nspawn.plans.source import resolve
from pyinfra_nspawn.specs.layout import Layout

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.specs import Guest


@dataclass(frozen=True)
class Comparison:
    """What every stage looks at; made once for a guest, and each side of it computed once.

    + guest: the guest as it is wanted
    + snapshot: its host as it was seen
    + stages: names of the stages that are planned; each plans as if those before it were done

    A side that needs what could not be read raises `Refused`: a stage that does not ask for it is not
    kept from its work.
    """

    guest: Guest
    snapshot: Snapshot
    stages: frozenset[str] = frozenset()

    @cached_property
    def layout(self) -> Layout:
        """Where the guest lies on its host."""
        return Layout.of(self.guest)

    @cached_property
    def definition(self) -> Definition:
        """Its definition, rendered."""
        return define(self.guest)

    @cached_property
    def found(self) -> GuestSeen:
        """The guest as the host has it now."""
        guests = readable("the host's guests", self.snapshot.guests, self.guest.name)
        return readable("the guest", guests.get(self.guest.name, GuestSeen()), self.guest.name)

    @cached_property
    def seen(self) -> GuestSeen:
        """The guest as the stages after its adoption find it."""
        return adopted(self) if self.guest.adopt else self.found

    @cached_property
    def sysroots(self) -> HostSysroots:
        """All sysroots of the host."""
        return readable("the host's OSTree sysroots", self.snapshot.sysroots, self.guest.name)

    @cached_property
    def host(self) -> Sysroot:
        """The host's own sysroot."""
        return readable("the host's OSTree sysroot", self.sysroots.host, self.guest.name)

    @cached_property
    def private(self) -> Sysroot | None:
        """The guest's private sysroot; None without one."""
        return readable(
            "the guest's OSTree sysroot", self.sysroots.guests.get(self.guest.name), self.guest.name
        )

    @cached_property
    def _claimed(self) -> Sysroot | None:
        return self.host if self.seen.stateroot else None

    @cached_property
    def own(self) -> Sysroot | None:
        """The sysroot that the guest is wanted in; None while its stateroot does not exist."""
        if self.guest.sysroot == "private":
            return self.private
        return self._claimed if self.guest.name in self.host.stateroots else None

    @cached_property
    def other(self) -> Sysroot | None:
        """The sysroot of the other kind, where the guest has its stateroot; None when it has none there."""
        return self._claimed if self.guest.sysroot == "private" else self.private

    @cached_property
    def moves(self) -> bool:
        """Whether the guest comes from the other sysroot, with the deployment that it boots."""
        return self.other is not None and bool(self.other.of_stateroot(self.guest.name))

    @cached_property
    def deployments(self) -> tuple[Deployment, ...]:
        """The guest's deployments, in ostree's order."""
        return self.own.of_stateroot(self.guest.name) if self.own else ()

    @cached_property
    def commit(self) -> str | None:
        """The commit that the source names; None while the remote has not been asked for it."""
        return resolve(self.guest, self.host)

    @cached_property
    def newest(self) -> str | None:
        """The commit that the source names now, by the word of its remote where it has one and was asked."""
        refspec = self.guest.source.refspec or ""
        if refspec in self.sysroots.offers:
            return readable(f"ref {refspec}", self.sysroots.offers[refspec], self.guest.name)
        return self.commit

    @cached_property
    def current(self) -> Deployment | None:
        """The deployment that `current` points at; None when it does not exist."""
        chosen = self.seen.current_deployment
        return next((item for item in self.deployments if item.id == chosen), None)

    @cached_property
    def candidate(self) -> Deployment | None:
        """The deployment of the source's commit; None when there is none.

        Of a guest that deploys for itself, the one that ostree lists first.
        """
        if self.guest.source.guest:
            return self.deployments[0] if self.deployments else None
        return next((item for item in self.deployments if item.checksum == self.commit), None)

    @cached_property
    def runs(self) -> bool:
        """Whether the guest runs, or is on its way to, and still does after a move, which stops it."""
        active = self.seen.unit is not None and self.seen.unit.active
        return active and not ("stateroot" in self.stages and self.moves)

    @cached_property
    def outdated(self) -> bool:
        """Whether the guest runs another definition than it has now, or perhaps does: one is being tried.

        One that has no process, between two attempts to start, will start with the definition that it has;
        so will one whose process is still systemd's own, a moment after it was started, and has no
        definition yet.
        """
        unit = self.seen.unit
        if not self.runs or unit is None:
            return False
        forked = unit.definition is None and unit.sub_state == "start"
        other = bool(unit.main_pid) and not forked and unit.definition != self.definition.digest
        return other or self.seen.trial == "running"

    @cached_property
    def tried(self) -> bool:
        """Whether the changed definition is tried on the running guest, which has one to go back to."""
        wanted = self.guest.state == "running" and self.guest.on_change == "restart"
        asked = "definition" in self.stages
        return asked and wanted and self.outdated and self.definition.boot in self.seen.files
