"""A host's bridge: what differs from what is wanted, and the change that is tried before it is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.render.keyfiles import NETWORK_MANAGER
from pyinfra_nspawn.plans.render.manager import Identity, Port, former_of
from pyinfra_nspawn.plans.render.networkd import NETWORKD
from pyinfra_nspawn.plans.step import Confirmation, Step, encoded, file_diffs
from pyinfra_nspawn.plans.uplinks import error, matched, refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.facts.network import Link, Network
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.plans.render.manager import Manager
    from pyinfra_nspawn.specs.network import Bridge

MANAGERS: tuple[Manager, ...] = (NETWORKD, NETWORK_MANAGER)


@dataclass(frozen=True)
class BridgeComparison:
    """A bridge as the inventory wants it beside the host's network.

    + bridge: as it is wanted
    + seen: the host's network
    """

    bridge: Bridge
    seen: Network

    @cached_property
    def link(self) -> Link | None:
        """The bridge itself; None while it does not exist."""
        return self.seen.links.get(self.bridge.name)

    @cached_property
    def uplinks(self) -> dict[str, Link]:
        """The link of each uplink, by the uplink as the inventory has it; only where it is exactly one."""
        found = {uplink: matched(uplink, self.seen) for uplink in self.bridge.uplinks}
        return {uplink: links[0] for uplink, links in found.items() if len(links) == 1}

    @cached_property
    def manager(self) -> Manager:
        """Who makes the bridge: who made it, or who manages its uplinks now; never both for one link."""
        for manager in MANAGERS:
            if manager.bridge_path(self.bridge.name) in self.seen.files:
                return manager
        links = list(self.uplinks.values())
        by_network_manager = bool(links) and all(link.is_by_network_manager for link in links)
        alone = self.seen.network_manager and not self.seen.networkd
        return NETWORK_MANAGER if by_network_manager or alone else NETWORKD

    @cached_property
    def foreign(self) -> tuple[str, ...]:
        """The files of others about a bridge of that name."""
        lines = {f"Name={self.bridge.name}", f"Bridge={self.bridge.name}"}
        return tuple(path for path, said in sorted(self.seen.foreign.items()) if lines & set(said))

    @cached_property
    def present(self) -> tuple[str, ...]:
        """Our files about this bridge."""
        return tuple(path for path in self.seen.files if self.manager.bridge_of(path) == self.bridge.name)

    @cached_property
    def ours(self) -> bool:
        """Whether the bridge is ours."""
        return self.manager.bridge_path(self.bridge.name) in self.seen.files

    @cached_property
    def files(self) -> dict[str, str]:
        """The content of each file by its path, as it is wanted."""
        ports = [Port(uplink, link, self._former(link)) for uplink, link in self.uplinks.items()]
        return self.manager.render(self.bridge, self._identity, ports)

    @cached_property
    def _identity(self) -> Identity:
        """What the bridge is known by: taken once, from the bridge that is adopted or its first uplink."""
        source = self.link or next(iter(self.uplinks.values()), None)
        if self.ours:
            found = self.manager.identity_in(self.seen.files, self.bridge.name)
        elif source:
            found = Identity(source.mac, source.iaid, source.client_id[:1] == b"\x01")
        else:
            found = Identity()
        mac = self.bridge.mac if self.bridge.mac != "uplink" else found.mac or (source.mac if source else "")
        return replace(found, mac=mac)

    def _former(self, link: Link) -> str:
        """Return what configured an uplink before it was one."""
        found = self.manager.former(link, self.seen)
        return "" if found in self.foreign else found

    @property
    def superfluous(self) -> tuple[str, ...]:
        """Our files about this bridge that are not wanted: of uplinks that it has lost."""
        return tuple(sorted(set(self.present) - set(self.files)))


def network(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Have the host's bridge as the inventory wants it; without one, leave the network as it is."""
    bridge = comparison.settings.bridge
    yield from _unnamed(comparison)
    if bridge is None:
        return
    wanted = BridgeComparison(bridge, readable("the host's network", comparison.snapshot.network))
    if wanted.seen.change == "stale":
        yield Finding("interrupted", "a change of the network was cut off", field="bridge")
        text = "finish or undo the change of the network that was cut off"
        yield Step(text, "network-recover", network=True)
    else:
        yield from _present(wanted) if bridge.state == "present" else _absent(wanted)


def bridges_of(seen: Network) -> list[str]:
    """Return the bridges of ours on a host, by name."""
    return sorted({manager.bridge_of(path) for path in seen.files for manager in MANAGERS} - {""})


def _unnamed(comparison: HostComparison) -> Iterator[Finding]:
    """Yield a note about each bridge of ours that the inventory does not name."""
    bridge, seen = comparison.settings.bridge, comparison.snapshot.network
    for name in [] if isinstance(seen, Unreadable) else bridges_of(seen):
        if bridge is None or name != bridge.name:
            problem = f"bridge {name} is ours, and the inventory does not name it"
            hint = f"Add `bridge: {{name: {name}}}` to `nspawn_host`, with `state: absent` to remove it."
            yield Finding("extra", problem, hint, field="bridge", seen=name, severity="note")


def _present(wanted: BridgeComparison) -> Iterator[Step | Finding]:
    errors = [*_undecided(wanted), *_foreign(wanted), *refusals(wanted.bridge, wanted.seen, wanted.manager)]
    if errors:
        raise Refused(*errors)
    findings = [*_files_differ(wanted), *_links_differ(wanted)]
    if not findings:
        return
    yield from findings
    yield from _reverted(wanted)
    name = wanted.bridge.name
    through = ", ".join(link.name for link in wanted.uplinks.values())
    lines = [
        *wanted.manager.try_lines(name, wanted.files, wanted.superfluous, wanted.seen),
        *(f"etc {path} {encoded(content)}" for path, content in wanted.files.items()),
        *(f"etc {path} -" for path in wanted.superfluous),
        *(f"aside {path}" for path in wanted.foreign),
        *([f"made {name}"] if wanted.link is None else []),
        *([f"address {name}"] if wanted.bridge.uplinks or wanted.bridge.addresses else []),
        *_answers([*wanted.uplinks.values(), *([wanted.link] if wanted.link else [])]),
    ]
    what = f"bridge {through} into {name}" if through else f"make bridge {name}"
    yield _step(wanted, what, lines)


def _absent(wanted: BridgeComparison) -> Iterator[Step | Finding]:
    name, seen, ours = wanted.bridge.name, wanted.seen, wanted.present
    if not ours:
        return
    released = [path for path in ours if wanted.manager.is_uplink(path)]
    errors = [*_undecided(wanted), *_in_use(wanted), *_without_a_past(wanted, released)]
    if errors:
        raise Refused(*errors)
    uplinks = [link for link in seen.links.values() if link.master == name]
    has_address = wanted.link is not None and bool(wanted.link.addresses)
    yield Finding("extra", f"the host has bridge {name}", field="bridge", wanted="absent", seen=name)
    lines = [
        *wanted.manager.try_without(name, released, seen),
        *(f"etc {path} -" for path in [*released, *(path for path in ours if path not in released)]),
        f"gone {name}",
        *(f"address {link.name}" for link in uplinks if has_address),
        *_answers([wanted.link] if wanted.link else []),
    ]
    yield _step(wanted, f"remove bridge {name}", lines, removed=ours)


def _step(wanted: BridgeComparison, what: str, lines: Iterable[str], removed: Iterable[str] = ()) -> Step:
    payload = "\n".join([f"manager {wanted.manager.name} {wanted.manager.mode}", *lines])
    digest = hashlib.sha256(payload.encode()).hexdigest()[:32]
    bridge = wanted.bridge
    gone = dict.fromkeys(removed or wanted.superfluous, "")
    after = gone if removed else {**wanted.files, **gone}
    return Step(
        f"{what}, and restore the network unless this controller reaches the host within "
        f"{bridge.confirm_seconds} s",
        "network",
        arguments=(str(bridge.confirm_seconds), digest),
        payload=payload,
        program=True,
        network=True,
        diffs=file_diffs(wanted.seen.files, after),
        confirmation=Confirmation(bridge.confirm_seconds, digest, bridge.reached_at or ""),
    )


def _answers(links: Iterable[Link]) -> list[str]:
    return [f"answer {server}" for server in dict.fromkeys(dns for link in links for dns in link.dns)]


def _reverted(wanted: BridgeComparison) -> Iterator[Finding]:
    if wanted.seen.verdict:
        problem = f"the last change of the network was reverted: {wanted.seen.verdict[0]}"
        yield Finding("failed", problem, field="bridge", severity="note")


def _undecided(wanted: BridgeComparison) -> Iterator[Finding]:
    if wanted.seen.change:
        yield error("interrupted", "a change of the network is being tried", "Wait a minute, then run again.")


def _foreign(wanted: BridgeComparison) -> Iterator[Finding]:
    """Yield an error for a foreign bridge of that name."""
    name, link = wanted.bridge.name, wanted.link
    if link is not None and link.kind != "bridge":
        problem = f"{name} is a link already, and no bridge"
        yield error("foreign", problem, "Give the bridge another name.", seen=link.kind)
    elif wanted.ours or (wanted.foreign and wanted.bridge.adopt):
        return
    elif wanted.foreign:
        problem = f"bridge {name} is foreign: {', '.join(wanted.foreign)}"
        yield error("foreign", problem, "Set `adopt` on the bridge, or give it another name.", seen=name)
    elif link is not None:
        problem = f"a bridge {name} exists that no file of ours makes"
        yield error("foreign", problem, "Remove it, or give the bridge another name.", seen=name)


def _without_a_past(wanted: BridgeComparison, released: Iterable[str]) -> Iterator[Finding]:
    """Yield an error for each uplink of which no file says how it was configured before."""
    for path in [] if wanted.manager.has_default else released:
        if not former_of(wanted.seen.files[path]):
            problem = f"how the uplink of {path} was configured before is unknown: the bridge was adopted"
            hint = 'Add a line "# In the place of FILE" to it, with a .network file for the time after.'
            yield error("impossible", problem, hint, seen=path)


def _in_use(wanted: BridgeComparison) -> Iterator[Finding]:
    ports = [link.name for link in wanted.seen.links.values() if link.master == wanted.bridge.name]
    if guests := sorted(port for port in ports if port.startswith("vb-")):
        problem = f"guests use bridge {wanted.bridge.name}: {', '.join(guests)}"
        yield error("impossible", problem, "Give these guests another network first.", seen=guests[0])


def _files_differ(wanted: BridgeComparison) -> Iterator[Finding]:
    seen = wanted.seen.files
    for path, content in wanted.files.items():
        if path not in seen:
            yield Finding("missing", f"{path} does not exist", field="bridge", wanted=path)
        elif seen[path] != content:
            yield Finding("differs", f"{path} differs", field="bridge", wanted=path)
    for path in wanted.superfluous:
        yield Finding("extra", f"{path} is not wanted any more", field="bridge", seen=path)
    for path in wanted.foreign:
        yield Finding("foreign", f"{path} is moved aside", field="bridge", seen=path)


def _links_differ(wanted: BridgeComparison) -> Iterator[Finding]:
    """Yield what of the network in force is not as its files say."""
    name, link = wanted.bridge.name, wanted.link
    if link is None:
        yield Finding("missing", f"bridge {name} does not exist", field="bridge", wanted=name)
        return
    for uplink in wanted.uplinks.values():
        if uplink.master != name:
            yield _differs(f"{uplink.name} is no port of {name}", name, uplink.master)
    wanted_mtu = wanted.bridge.mtu
    for one in (link, *wanted.uplinks.values()):
        if wanted_mtu and one.mtu != wanted_mtu:
            yield _differs(f"the MTU of {one.name} is {one.mtu}", str(wanted_mtu), str(one.mtu))
    for address in wanted.bridge.addresses:
        if address not in link.addresses:
            yield _differs(f"{name} does not have {address}", address, ", ".join(link.addresses))


def _differs(problem: str, wanted: str, seen: str) -> Finding:
    return Finding("differs", problem, field="bridge", wanted=wanted, seen=seen)
