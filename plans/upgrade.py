"""Move a guest to the commit that its source names; it goes back where it does not come up with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.commit import pull
from pyinfra_nspawn.plans.definition import definition
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.plans.trial import trial_step
from pyinfra_nspawn.plans.unit import unit

_SET_DEFAULT = (2023, 6)
_SHARING = ("bcachefs", "btrfs", "ocfs2", "xfs", "zfs")
"""File systems whose files can share blocks (ioctl_ficlonerange(2)), as `stat -f` names them."""

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pyinfra_nspawn.facts.ostree import Deployment
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.guest import Stage


def upgrade_with(retry: Collection[str] = (), *, planning: bool = False) -> Stage:
    """Return the stage `upgrade` of a run.

    + retry: names of guests whose refused commit is tried again
    + planning: whether a guest that is not as desired yet will be so when it comes to its upgrade
    """

    def upgrade(comparison: Comparison) -> Iterator[Step | Finding]:
        """Pull what is newer while the guest runs; then deploy it and try it."""
        if comparison.guest.state == "stopped":
            yield from unprepared(comparison)
            return
        name, newest = comparison.guest.name, newer(comparison)
        if newest is None:
            if not comparison.current:
                yield from unprepared(comparison, planning=planning)
            return
        yield _behind(comparison, newest)
        problem = comparison.seen.refused_commits.get(newest)
        if problem is not None and name not in retry:
            raise Refused(_refused(comparison, problem))
        yield from unprepared(comparison, planning=planning)
        yield from _undrained(comparison)
        yield from _pinned_in_the_way(comparison)
        yield from _pull(comparison, newest)
        yield trial_step(
            comparison,
            "upgrade",
            f"upgrade guest {name} to commit {newest[:12]}: {_making_way(comparison)}stop, deploy, start; "
            "go back if it does not come up",
            (comparison.guest.sysroot, newest),
        )

    return upgrade


def newer(comparison: Comparison) -> str | None:
    """Return the commit that the guest's source names now; None where it boots that already.

    Raises `Refused` where the source cannot be had.
    """
    guest, current = comparison.guest, comparison.current
    if guest.source.guest or current is None:
        return None
    newest = comparison.newest
    if newest is None:
        raise Refused(_unknown(comparison))
    return None if newest == current.checksum else newest


def unprepared(comparison: Comparison, *, planning: bool = False) -> Iterator[Finding]:
    """Yield why a guest cannot be restarted with another commit, if it cannot.

    + planning: whether it will be as desired when it comes to that
    """
    guest = comparison.guest
    if guest.state == "stopped":
        yield _finding(
            comparison,
            "it is stopped, and only a guest that runs shows whether it comes up with another commit",
            "Set its `state` to 'running'.",
        )
        return
    yield from _no_snapshot(comparison)
    present = replace(comparison, stages=frozenset({"current", "definition", "unit"}))
    found = (*definition(present), *unit(present))
    # A newer commit may be the cure of a degraded guest.
    yield from (item for item in found if _is_error(item) and item.kind != "degraded")
    due = [item.verb for item in found if isinstance(item, Step) and item.verb != "await"]
    due += [item.field for item in found if isinstance(item, Finding) and item.kind == "outdated"]
    if due:
        problem = f"it is not as desired yet ({due[0]} is due)"
        unmet = _finding(comparison, problem, "Run deploys/guest.py first, with `on_change: restart`.")
        yield unmet if planning else replace(unmet, severity="error")


def _is_error(item: Step | Finding) -> TypeGuard[Finding]:
    return isinstance(item, Finding) and item.severity == "error"


def _no_snapshot(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error where the guest's /var cannot be copied by shared blocks."""
    guest, host = comparison.guest, comparison.snapshot.host
    if not guest.snapshot or guest.sysroot != "private" or isinstance(host, Unreadable):
        return
    if host.state_file_system not in _SHARING:
        found = _finding(
            comparison,
            f"`snapshot` takes a file system that shares blocks, unlike {host.state_file_system}",
            "Set `snapshot` to False, or use btrfs or xfs.",
        )
        yield replace(found, field="snapshot", severity="error")


def _undrained(comparison: Comparison) -> Iterator[Finding]:
    """Yield a note about a node of a cluster: its guest is restarted, and its pods with it."""
    if comparison.guest.k3s and comparison.guest.k3s.binary:
        yield _finding(
            comparison,
            "its pods stop with it: they are not moved to other nodes before",
            'Run "kubectl drain" before, and "kubectl uncordon" after.',
        )


def _in_the_way(comparison: Comparison) -> list[Deployment]:
    """Return the deployments that are removed before ostree merges the /etc of the one that the guest boots.

    ostree takes that of the first in its list. In a private sysroot the order can be changed (`ostree admin
    set-default`, since 2023.6).
    """
    host = comparison.snapshot.host
    version = "" if isinstance(host, Unreadable) else host.ostree_version
    if comparison.guest.sysroot == "private" and _numbers(version) >= _SET_DEFAULT:
        return []
    ids = [item.id for item in comparison.deployments]
    chosen = comparison.seen.current_deployment
    return list(comparison.deployments[: ids.index(chosen)]) if chosen in ids else []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in version.split(".") if word.isdecimal())


def _making_way(comparison: Comparison) -> str:
    names = [item.id[:12] for item in _in_the_way(comparison)]
    return f"remove deployment {', '.join(names)}, " if names else ""


def _pinned_in_the_way(comparison: Comparison) -> Iterator[Finding]:
    for item in _in_the_way(comparison):
        if item.pinned or item.checksum in comparison.guest.pinned:
            found = _finding(
                comparison,
                f"pinned deployment {item.id[:12]} would have to go: ostree merges /etc from the first",
                "Roll forward to it, or unpin it.",
            )
            yield replace(found, field="pinned", severity="error")


def _finding(comparison: Comparison, problem: str, hint: str) -> Finding:
    guest = comparison.guest
    return Finding("impossible", problem, hint, guest=guest.name, field="source", severity="note")


def _behind(comparison: Comparison, newest: str) -> Finding:
    current = comparison.current
    return Finding(
        "behind",
        f"{comparison.guest.source} is commit {newest[:12]} now",
        guest=comparison.guest.name,
        field="source",
        wanted=newest,
        seen=current.checksum if current else "",
    )


def _refused(comparison: Comparison, problem: str) -> Finding:
    name = comparison.guest.name
    newest = comparison.newest or ""
    return Finding(
        "refused-commit",
        f"commit {newest[:12]} is not tried again: {problem}",
        f"Fix the commit, or run with `--data retry={name}` to try it again.",
        guest=name,
        field="source",
        wanted=newest,
        seen=comparison.current.checksum if comparison.current else "",
        severity="error",
    )


def _unknown(comparison: Comparison) -> Finding:
    source = comparison.guest.source
    return Finding(
        "unreadable",
        f"the host does not know which commit {source} is",
        "Run again.",
        guest=comparison.guest.name,
        field="source",
        wanted=str(source),
        severity="error",
    )


def _pull(comparison: Comparison, newest: str) -> Iterator[Step]:
    """Yield the step that brings a commit into the guest's sysroot, by way of the host's repository."""
    guest, host = comparison.guest, comparison.host
    source = guest.source
    if source.commit:
        has_it = host.commits.get(source.commit) == "present"
    else:
        has_it = source.remote is None or host.refs.get(source.refspec or "") == newest
    if guest.sysroot == "private" or not has_it:
        yield pull(comparison, newest, None if has_it else source.remote)
