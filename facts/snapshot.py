"""Everything that a run looks at on a host, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import Record, Unreadable, not_understood, parse_answer
from pyinfra_nspawn.facts.host import Host, parse_host
from pyinfra_nspawn.facts.k3s import K3sProbes, parse_k3s
from pyinfra_nspawn.facts.network import Network, parse_network
from pyinfra_nspawn.facts.nspawn import Seen, parse_guests
from pyinfra_nspawn.facts.ostree import HOST, HostSysroots, Sysroot, parse_sysroots
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.facts.base import Part
    from pyinfra_nspawn.facts.local import LocalFile


Usage = Literal["", "addresses", "disk"]
"""Facts about guests that reports need and plans do not."""


_NOT_READ = Unreadable("the host was not asked for its network")


@dataclass(frozen=True)
class Snapshot(Record):
    """A host, its OSTree sysroots, its guests and its network at one time.

    + k3s: the preconditions of k3s, as they were tested in guests; empty where that was not asked for
    + local: files of the controller that the guests need, by path; empty where they were not read
    """

    host: Host | Unreadable
    sysroots: HostSysroots | Unreadable
    guests: Seen | Unreadable
    network: Network | Unreadable = _NOT_READ
    k3s: K3sProbes = field(default_factory=K3sProbes)
    local: dict[str, LocalFile | Unreadable] = field(default_factory=dict)

    def updated(self, parts: Iterable[Part], *, sysroots: bool = True) -> Snapshot:
        """Return the snapshot with what the answer of a change says: of some guests, and perhaps of the host.

        + sysroots: whether it speaks of the sysroots of its guests too

        What the answer does not speak of stays as it was.
        """
        parts = list(parts)
        kinds = {part.words[0] for part in parts}
        found = self
        if "user" in kinds:
            found = replace(found, host=parse_host(parts))
        if "links" in kinds:
            found = replace(found, network=parse_network(parts))
        if sysroots and isinstance(self.sysroots, HostSysroots):
            found = replace(found, sysroots=_merged(self.sysroots, parts))
        if isinstance(self.guests, dict):  # what is said of some makes nothing known of all
            now = parse_guests(parts) if kinds & _GUESTS_ASKED else {}
            if isinstance(now, Unreadable):
                now = dict.fromkeys(_spoken_of(parts), now)
            found = replace(found, guests={**self.guests, **now})
        return found


_GUESTS_ASKED = {"root", "units"}
"""One of these parts is in every answer that says something of guests."""


def _spoken_of(parts: Iterable[Part]) -> set[str]:
    return {name for part in parts if part.words[0] == "guest" for name in part.words[1:]}


def _merged(before: HostSysroots, parts: list[Part]) -> HostSysroots | Unreadable:
    """Return the sysroots of before with those that an answer speaks of.

    A guest that it speaks of without a sysroot has none any more.
    """
    now = parse_sysroots(parts)
    if isinstance(now, Unreadable):
        return now
    spoken_of = _spoken_of(parts)
    guests = {name: sysroot for name, sysroot in before.guests.items() if name not in spoken_of}
    host = before.host
    if any(part.words == (kind, HOST) for part in parts for kind in ("status", "status-json")):
        host = now.host
        if isinstance(host, Sysroot) and isinstance(before.host, Sysroot):
            host = replace(host, commits=before.host.commits)
    return replace(before, host=host, guests={**guests, **now.guests})


def parse_snapshot(output: list[str]) -> Snapshot:
    """Read an answer that holds all facts; what is missing in it is unreadable by itself."""
    try:
        parts = parse_answer(output)
    except ValueError as error:
        reason = not_understood(error)
        return Snapshot(reason, reason, reason, reason)
    asked = any(part.words[0] in _GUESTS_ASKED for part in parts)
    guests = parse_guests(parts) if asked else Unreadable("the guests were not read")
    return Snapshot(parse_host(parts), parse_sysroots(parts), guests, parse_network(parts), parse_k3s(parts))


class SnapshotFacts(FactBase[Snapshot]):
    """Read a host, its network, its OSTree sysroots and its guests in one round trip.

    + whole: read the guests too, and their sysroots; otherwise only the host, its network and its own sysroot
    + names: guests that are read whether the host knows of them or not
    + commits: checksums to look for in the host's repository
    + offers: refs, `REMOTE:REF`, that their remotes are asked for
    + paths: paths of the host to look for
    + usage: `addresses` to read those of the guests that run; `disk` to have them measure their files too
    + k3s: guests in which to test the preconditions of k3s, where they run

    Returns `Snapshot`, whose parts are `Unreadable` where they could not be determined.
    """

    def command(
        self,
        whole: bool = True,
        names: tuple[str, ...] = (),
        commits: tuple[str, ...] = (),
        paths: tuple[str, ...] = (),
        *,
        offers: tuple[str, ...] = (),
        usage: Usage = "",
        k3s: tuple[str, ...] = (),
    ) -> str:
        """Return the command; it exits 0 whatever it finds."""
        if not whole:
            return command_line("facts", "host", "--", "network", "--", "sysroot", "/")
        asked = [*(f"commit:{commit}" for commit in commits), *(f"path:{path}" for path in paths)]
        asked += [f"offer:{refspec}" for refspec in offers]
        more = ("--", "usage", usage or "none", *k3s) if usage or k3s else ()
        whole_host = ("host", "--", "network", "--", "sysroots")
        return command_line("facts", *whole_host, *asked, "--", "guests", *names, *more)

    @staticmethod
    def default() -> Snapshot:
        """Return what stands for no answer."""
        nothing = Unreadable("the host gave no answer")
        return Snapshot(nothing, nothing, nothing, nothing)

    def process(self, output: list[str]) -> Snapshot:
        """Parse the answer."""
        return parse_snapshot(output)
