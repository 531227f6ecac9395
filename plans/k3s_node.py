"""k3s in a guest: its files, its service, and its place in a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import K3sProbe
from pyinfra_nspawn.facts.nspawn import Placed
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.k3s_store import described, k3s_bring
from pyinfra_nspawn.plans.step import Step, Turn, file_line
from pyinfra_nspawn.specs.cluster import before, node_name
from pyinfra_nspawn.specs.k3s import NODE_FILES, K3s
from pyinfra_nspawn.specs.k3s_guest import digest, node_files
from pyinfra_nspawn.specs.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyinfra_nspawn.facts.k3s import Service
    from pyinfra_nspawn.facts.nspawn import Joined
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.specs import Guest
    from pyinfra_nspawn.specs.cluster import Node

LEAVE = "k3s_left"
"""The name of the stage that takes nodes out of their clusters."""
_UPGRADE = "Run deploys/k3s.py, which moves its pods away first."


def k3s_place(comparison: Comparison) -> Iterator[Step | Finding]:
    """Give a guest its files of k3s before it starts with them; a node that has some is not changed here."""
    guest, placed = comparison.guest, comparison.seen.k3s
    wanted = _files(guest)
    if not wanted:
        if error := not_left(comparison):
            yield error
        elif placed is not None and not (comparison.runs and comparison.outdated):
            yield _finding(guest, "extra", "files of k3s are placed for it")
            yield Step(f"remove the files of k3s of guest {guest.name}", "k3s-unplace", guest.name)
    elif placed is None or "k3s" not in placed.files:
        yield from k3s_bring(comparison)
        yield _finding(guest, "missing", "k3s is not placed", _digests(wanted))
        yield Step(f"guest {guest.name}: place {_names(guest)}", "k3s-place", guest.name, _entries(wanted))
    elif placed.files != wanted and guest.state == "running" and LEAVE not in comparison.stages:
        found = _finding(guest, "behind", "other files of k3s are placed than are desired", _digests(wanted))
        yield replace(found, hint=_UPGRADE, severity="note")


def not_left(comparison: Comparison) -> Finding | None:
    """Return an error for a guest that loses its k3s, and was not taken out of its cluster."""
    guest, placed = comparison.guest, comparison.seen.k3s
    if placed is None or placed.joined is None:
        return None
    if guest.state != "absent" and placed.joined.role == "server":
        problem = "it is a server of its cluster, and cannot leave it while the guest stays"
        return _error(guest, problem, "Remove the guest, with `state: absent`.")
    if guest.state == "absent" and not _files(guest):
        problem = f"node {placed.joined.node} is in cluster {placed.joined.cluster}"
        return _error(guest, problem, "Keep its `k3s` in the inventory until it has left.")
    if LEAVE in comparison.stages:
        return None
    hint = "Run deploys/k3s.py, which takes it out first."
    return _error(guest, "its node would remain in its cluster", hint)


def k3s_leave(nodes: Sequence[Node]) -> Callable[[Comparison], Iterator[Step | Finding]]:
    """Return the stage that takes the node of a guest that is removed out of its cluster.

    + nodes: of all clusters of the inventory, in its order
    """

    def k3s_left(comparison: Comparison) -> Iterator[Step | Finding]:
        """Stop k3s for good, and delete the node; nothing where no file of k3s is placed."""
        guest, placed = comparison.guest, comparison.seen.k3s
        joined = placed.joined if placed else None
        if joined is None or (guest.state != "absent" and _files(guest)) or not_left(comparison):
            return
        k3s, others = guest.k3s or K3s(), _others(guest, nodes)
        servers = _at(others)
        if joined.role == "server" and not servers:
            _refuse_to_leave(guest, joined, others)
        drains = bool(servers) and k3s.drain and comparison.runs
        texts = [f"guest {guest.name}: {'move its pods away, ' if drains else ''}stop k3s"]
        texts += [f"delete node {joined.node}"] if servers else []
        yield _finding(guest, "extra", f"k3s runs in it, as node {joined.node}")
        yield Step(
            ", ".join(texts),
            "k3s-leave",
            guest.name,
            turn=Turn(
                joined.cluster,
                joined.node,
                is_server=joined.role == "server",
                servers=servers,
                drain_seconds=k3s.drain_seconds if drains else 0,
                removed=guest.state == "absent",
            ),
        )

    return k3s_left


def _refuse_to_leave(guest: Guest, joined: Joined, others: Sequence[Node]) -> None:
    """Raise `Refused` for a server without which others would be left; the last node of a cluster may go."""
    if agents := [node.name for node in others if not node.is_absent]:
        problem = f"it is the only server of {', '.join(agents[:3])}"
        raise Refused(_error(guest, problem, "Remove these nodes first, or add a server."))
    if guest.k3s and guest.k3s.server:
        problem = f"no server of its cluster is in the inventory to delete node {joined.node}"
        file = f"{Layout.of(guest).k3s}/.joined"
        raise Refused(_error(guest, problem, f"Delete it with kubectl, remove {file}, then run again."))


def k3s_node(nodes: Sequence[Node]) -> Callable[[Comparison], Iterator[Step | Finding]]:
    """Return the stage that has k3s run in a guest, as a node that is ready.

    + nodes: of all clusters of the inventory, in its order
    """

    def k3s_run(comparison: Comparison) -> Iterator[Step | Finding]:
        """Bring and place the desired files, start k3s with them and wait for the node, in its turn."""
        guest = comparison.guest
        if guest.k3s is None or not guest.k3s.binary or guest.state != "running":
            return
        state = _State(comparison, guest.k3s, nodes)
        if comparison.outdated and state.placed.joined is None:
            problem = "it runs without its k3s until it is restarted"
            raise Refused(_error(guest, problem, "Restart it, or set `on_change` to 'restart'."))
        problems = tuple(state.problems())
        if problems and state.differs and comparison.runs:  # else `k3s_place` does
            yield from k3s_bring(comparison)
        yield from problems
        if problems:
            yield state.step()

    return k3s_run


@dataclass(frozen=True)
class _State:
    """A node as it is beside the node as it is desired.

    + comparison: of its guest
    + k3s: the guest's
    + nodes: of all clusters of the inventory
    """

    comparison: Comparison
    k3s: K3s
    nodes: Sequence[Node]

    @property
    def guest(self) -> Guest:
        return self.comparison.guest

    @cached_property
    def placed(self) -> Placed:
        return self.comparison.seen.k3s or Placed()

    @cached_property
    def service(self) -> Service | None:
        """The service; None where the guest does not run yet. Raises `Refused` where it could not be read."""
        probe = self.comparison.snapshot.k3s.guests.get(self.guest.name)
        if isinstance(probe, Unreadable):
            problem = f"the state of k3s could not be read: {probe.reason}"
            hint = f'Run "systemctl -M {self.guest.name} status k3s" on the host.'
            raise Refused(replace(_error(self.guest, problem, hint), kind="unreadable"))
        return probe.service if isinstance(probe, K3sProbe) else None

    @cached_property
    def differs(self) -> bool:
        return self.placed.files != _files(self.guest)

    @cached_property
    def digest(self) -> str:
        return digest(node_files(self.k3s))

    @cached_property
    def runs(self) -> bool:
        return self.service is not None and self.service.active_state == "active"

    @cached_property
    def is_outdated(self) -> bool:
        """Whether k3s runs with another binary or other files than desired."""
        binary = self.k3s.binary
        desired = f"{binary.sha256 if binary else ''} {self.digest}"
        return self.service is not None and self.runs and self.service.started != desired

    def problems(self) -> Iterator[Finding]:
        """Yield what the node lacks. Raises `Refused` for one that would become another than it is."""
        self._stay_what_it_is()
        guest, service = self.guest, self.service
        if self.differs:
            wanted = _digests(_files(guest))
            yield _finding(guest, "differs", "other files of k3s are placed than are desired", wanted)
        if service is None or not self.runs or service.unit_file_state != "enabled":
            yield _finding(guest, "differs", "k3s.service does not run", "active")
        elif service.files != self.digest:
            yield _finding(guest, "differs", "the configuration of k3s differs", ", ".join(NODE_FILES))
        elif self.is_outdated and not self.differs:
            yield _finding(guest, "outdated", "k3s runs with another binary or configuration", self.k3s.role)
        if service and self.runs and not service.is_ready:
            said = service.doubt or service.node or "k3s is starting"
            yield _finding(guest, "differs", f"its node is not ready: {said}", "Ready")
        if self.placed.cordoned:
            problem = "its node was cordoned for a change that was cut off"
            yield _finding(guest, "interrupted", problem)

    def _stay_what_it_is(self) -> None:
        joined = self.placed.joined
        if joined is None:
            return
        if joined.how == "server-founded" and self.k3s.server:
            problem = f"it founded its cluster, and would join {self.k3s.server} now"
            raise Refused(_error(self.guest, problem, "List it before the other servers of its cluster."))
        was = f"{joined.role} {joined.node} of cluster {joined.cluster}"
        desired = f"{self.k3s.role} {node_name(self.guest)} of cluster {self.k3s.cluster}"
        if was != desired:
            hint = "Remove the guest, with `state: absent` and `purge`, then make it again."
            raise Refused(_error(self.guest, f"it is {was}, and would be {desired} now", hint))

    def step(self) -> Step:
        """Return the step that answers all of them."""
        guest, files = self.guest, node_files(self.k3s)
        absent = [f"- {path}\n" for path in NODE_FILES if path not in files]
        sent = [
            file_line(file.mode.lstrip("0"), path, file.content.get_secret_value()) + "\n"
            for path, file in files.items()
        ]
        return Step(
            f"guest {guest.name}: {', '.join(self._texts())}",
            "k3s-node",
            guest.name,
            _entries(_files(guest)),
            payload="".join([*absent, *sent]),
            turn=self.turn,
        )

    def _texts(self) -> Iterator[str]:
        if self.turn.drain_seconds:
            yield f"move the pods of node {self.turn.node} away"
        # `k3s_place` says so of a guest that has yet to start.
        if self.differs and self.comparison.runs:
            yield f"place {_names(self.guest)}"
        if self.is_outdated or not self.runs:
            yield f"{'re' if self.runs else ''}start k3s"
        yield f"wait up to {self.turn.ready_seconds} s until {self.turn.node} is ready"
        if self.turn.uncordon:
            yield "let pods come back"

    @cached_property
    def turn(self) -> Turn:
        """How the node is changed."""
        is_server = self.k3s.role == "server"
        founds = is_server and not self.k3s.server and self.placed.joined is None
        others = _others(self.guest, self.nodes)
        servers = _all(others) if founds else _at(others)
        own = _at([node for node in _cluster(self.guest, self.nodes) if node not in others])
        present = [node for node in others if not node.is_absent]
        drains = bool(self.is_outdated and self.k3s.drain and present and (servers or own))
        # Also of a node that is down: it must not come up newer than its servers.
        changes = self.is_outdated or (self.placed.joined is not None and self.differs)
        # What an administrator has cordoned stays cordoned.
        cordons = drains and not (self.service is not None and self.service.is_cordoned)
        return Turn(
            self.k3s.cluster,
            node_name(self.guest),
            is_server=is_server,
            alone=changes or is_server,
            after=before(self.guest, self.nodes) if changes else (),
            founds=founds,
            servers=servers if founds else (*servers, *own),
            drain_seconds=self.k3s.drain_seconds if drains else 0,
            uncordon=cordons or self.placed.cordoned,
            ready_seconds=self.k3s.ready_seconds,
        )


def _cluster(guest: Guest, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes of a guest's cluster."""
    if guest.k3s is None or not guest.k3s.binary:
        return []
    return [node for node in nodes if node.k3s.cluster == guest.k3s.cluster]


def _others(guest: Guest, nodes: Sequence[Node]) -> list[Node]:
    """Return the other nodes of a guest's cluster."""
    return [node for node in _cluster(guest, nodes) if node.name != node_name(guest)]


def _at(nodes: Sequence[Node]) -> tuple[tuple[str, str], ...]:
    """Return hosts and guests of those of the nodes that are servers, and should run."""
    return _all([node for node in nodes if node.k3s.role == "server" and node.guest.state == "running"])


def _all(nodes: Sequence[Node]) -> tuple[tuple[str, str], ...]:
    """Return hosts and guests of nodes."""
    return tuple((node.host, node.guest.name) for node in nodes)


def _files(guest: Guest) -> dict[str, str]:
    return {path: item.sha256 for path, item in guest.k3s.artifacts.items()} if guest.k3s else {}


def _entries(wanted: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{sha256}={path}" for path, sha256 in sorted(wanted.items()))


def _names(guest: Guest) -> str:
    return ", ".join(described(item) for item in guest.k3s.artifacts.values()) if guest.k3s else ""


def _digests(wanted: dict[str, str]) -> str:
    return " ".join(sorted(wanted.values()))


def _finding(guest: Guest, kind: Kind, problem: str, wanted: str = "") -> Finding:
    return Finding(kind, problem, guest=guest.name, field="k3s", wanted=wanted)


def _error(guest: Guest, problem: str, hint: str) -> Finding:
    return Finding("impossible", problem, hint, guest=guest.name, field="k3s", severity="error")
