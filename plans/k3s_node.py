"""k3s in a guest: its files, its service, and its place in a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import K3sProbe
from pyinfra_nspawn.facts.nspawn import Placed
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.k3s_store import described
from pyinfra_nspawn.plans.step import Step, Turn
from pyinfra_nspawn.specs.cluster import node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyinfra_nspawn.facts.k3s import Service
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.specs import Guest, K3s
    from pyinfra_nspawn.specs.cluster import Node

UPGRADE = "Run deploys/k3s.py, which moves its pods away first."


def k3s_place(comparison: Comparison) -> Iterator[Step | Finding]:
    """Give a guest its files of k3s before it starts with them; a node that has some is not changed here."""
    guest, placed = comparison.guest, comparison.seen.k3s
    wanted = _wanted(guest)
    if not wanted and (error := not_left(comparison)):
        yield error
    elif not wanted:
        if placed is not None and not _still_sees(comparison):
            yield _differs(guest, "extra", "files of k3s are placed for it", "")
            yield Step(f"remove the files of k3s of guest {guest.name}", "k3s-unplace", guest.name)
    elif placed is None or "k3s" not in placed.files:
        yield _differs(guest, "missing", "k3s is not placed", _digests(wanted))
        yield Step(f"guest {guest.name}: place {_names(guest)}", "k3s-place", guest.name, _entries(wanted))
    elif placed.files != wanted and guest.state == "running" and "k3s_left" not in comparison.stages:
        found = _differs(guest, "behind", "other files of k3s are placed than are desired", _digests(wanted))
        yield replace(found, hint=UPGRADE, severity="note")


def k3s_node(nodes: Sequence[Node]) -> Callable[[Comparison], Iterator[Step | Finding]]:
    """Return the stage that has k3s run in a guest, as a node that is ready.

    + nodes: of all clusters of the inventory, in its order
    """

    def k3s_run(comparison: Comparison) -> Iterator[Step | Finding]:
        """Place the desired files, start the service and wait for the node: all in the turn of the node."""
        guest = comparison.guest
        if guest.k3s is None or not guest.k3s.binary or guest.state != "running":
            return
        probe = comparison.snapshot.k3s.guests.get(guest.name)
        if isinstance(probe, Unreadable):
            problem = f"its k3s could not be looked at: {probe.reason}"
            found = _differs(guest, "unreadable", problem, "")
            hint = f'Run "systemctl -M {guest.name} status k3s" on the host.'
            yield replace(found, hint=hint, severity="error")
            return
        problems = tuple(_problems(comparison, guest.k3s))
        yield from problems
        if problems:
            yield _run(comparison, guest.k3s, nodes)

    return k3s_run


def k3s_leave(nodes: Sequence[Node]) -> Callable[[Comparison], Iterator[Step | Finding]]:
    """Return the stage that takes the node of a guest that is removed out of its cluster.

    + nodes: of all clusters of the inventory, in its order
    """

    def k3s_left(comparison: Comparison) -> Iterator[Step | Finding]:
        """Stop k3s for good, and delete the node; nothing where no file of k3s is placed."""
        guest = comparison.guest
        if comparison.seen.k3s is None or (guest.state != "absent" and _wanted(guest)):
            return
        others = _others(guest, nodes)
        drains = bool(others) and guest.k3s is not None and guest.k3s.drain and comparison.runs
        yield _differs(guest, "extra", f"node {node_name(guest)} is in its cluster", "")
        yield Step(
            f"guest {guest.name}: {'move its pods away, ' if drains else ''}stop k3s"
            f"{f', delete node {node_name(guest)}' if others else ''}",
            "k3s-leave",
            guest.name,
            turn=Turn(
                guest.k3s.cluster if guest.k3s else "",
                node_name(guest),
                _at(others[0]) if others else None,
                drain_seconds=guest.k3s.drain_seconds if guest.k3s and drains else 0,
                removed=guest.state == "absent",
            ),
        )

    return k3s_left


def not_left(comparison: Comparison) -> Finding | None:
    """Return an error for a guest that is to run k3s no more, and was not told to stop it."""
    if comparison.seen.k3s is None or "k3s_left" in comparison.stages:
        return None
    return Finding(
        "impossible",
        "its node would remain in its cluster",
        "Run deploys/k3s.py, which takes it out first.",
        guest=comparison.guest.name,
        field="k3s",
        severity="error",
    )


def _problems(comparison: Comparison, k3s: K3s) -> Iterator[Finding]:
    """Yield what a guest's k3s lacks of a node that is ready with the desired files."""
    guest, placed = comparison.guest, comparison.seen.k3s or Placed()
    wanted = _wanted(guest)
    if placed.files != wanted:
        yield _differs(guest, "differs", "other files of k3s are placed", _digests(wanted))
    service = _service(comparison)
    if service is None or service.active_state != "active" or service.unit_file_state != "enabled":
        yield _differs(guest, "differs", "k3s.service does not run", "active")
    elif service.started != placed.inode:
        yield _differs(guest, "outdated", "k3s runs from another binary", k3s.role)
    if service and not service.is_ready:
        yield _differs(
            guest, "degraded", f"its node is not ready: {service.node or 'k3s is starting'}", "Ready"
        )
    if placed.cordoned:
        yield _differs(guest, "interrupted", "its node was cordoned for an upgrade that was cut off", "")


def _run(comparison: Comparison, k3s: K3s, nodes: Sequence[Node]) -> Step:
    guest, service = comparison.guest, _service(comparison)
    placed = comparison.seen.k3s or Placed()
    others, wanted = _others(guest, nodes), _wanted(guest)
    runs = service is not None and service.active_state == "active"
    restarts = runs and (placed.files != wanted or (service and service.started != placed.inode))
    drains = bool(restarts and others and k3s.drain)
    name = node_name(guest)
    texts = [f"move the pods of node {name} away"] if drains else []
    # Of a guest that is yet to start, `k3s_place` has said that.
    texts += [f"place {_names(guest)}"] if placed.files != wanted and comparison.runs else []
    texts += [
        f"{'re' if restarts else ''}start k3s",
        f"wait up to {k3s.ready_seconds} s until {name} is ready",
    ]
    asked = others or [node for node in nodes if node.guest.name == guest.name and node.name == name]
    return Step(
        f"guest {guest.name}: {', '.join(texts)}",
        "k3s-node",
        guest.name,
        _entries(wanted),
        turn=Turn(
            k3s.cluster,
            name,
            _at(asked[0]) if asked and (drains or placed.cordoned) else None,
            alone=bool(restarts) or k3s.role == "server",
            drain_seconds=k3s.drain_seconds if drains else 0,
            uncordon=drains or placed.cordoned,
            ready_seconds=k3s.ready_seconds,
        ),
    )


def _others(guest: Guest, nodes: Sequence[Node]) -> list[Node]:
    """Return the other servers of a guest's cluster; of a single one with agents, itself."""
    if guest.k3s is None or not guest.k3s.binary:
        return []
    name = node_name(guest)
    cluster = [node for node in nodes if node.guest.k3s and node.guest.k3s.cluster == guest.k3s.cluster]
    others = [node for node in cluster if node.name != name]
    servers = [node for node in others if node.guest.k3s and node.guest.k3s.role == "server"]
    own = [node for node in cluster if node.name == name and guest.k3s.role == "server"]
    return servers or (own if others else [])


def _at(node: Node) -> tuple[str, str]:
    return node.host, node.guest.name


def _service(comparison: Comparison) -> Service | None:
    probe = comparison.snapshot.k3s.guests.get(comparison.guest.name)
    return probe.service if isinstance(probe, K3sProbe) else None


def _still_sees(comparison: Comparison) -> bool:
    """Return whether the guest runs with the files bound into it; its changed definition comes first."""
    return comparison.runs and comparison.outdated


def _wanted(guest: Guest) -> dict[str, str]:
    return {path: item.sha256 for path, item in guest.k3s.artifacts.items()} if guest.k3s else {}


def _entries(wanted: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{sha256}={path}" for path, sha256 in sorted(wanted.items()))


def _names(guest: Guest) -> str:
    return ", ".join(described(item) for item in guest.k3s.artifacts.values()) if guest.k3s else ""


def _digests(wanted: dict[str, str]) -> str:
    return " ".join(sorted(wanted.values()))


def _differs(guest: Guest, kind: Kind, problem: str, wanted: str) -> Finding:
    return Finding(kind, problem, guest=guest.name, field="k3s", wanted=wanted)
