"""Bring the commit of a guest's source into its sysroot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.source import refuse_absent
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.ostree import Deployment
    from pyinfra_nspawn.plans.comparison import Comparison


def commit(comparison: Comparison) -> Iterator[Step | Finding]:
    """Pull the source's commit, by way of the host's repository, for a guest without a deployment to boot.

    A deployed guest keeps its commit here: a source that has moved on is a note.
    """
    if comparison.moves:
        return
    if comparison.current:
        yield from _behind(comparison, comparison.current)
        yield from _deployed_itself(comparison, comparison.current)
        return
    checksum = comparison.commit
    if comparison.candidate:
        return
    remote = _remote(comparison)
    if comparison.guest.sysroot == "private" or remote:
        yield _missing(comparison)
        yield pull(comparison, checksum, remote)


def _remote(comparison: Comparison) -> str | None:
    """Return the remote to pull from; None when the host's repository has the commit."""
    source, host = comparison.guest.source, comparison.host
    if not source.commit:
        return source.remote if comparison.commit is None else None
    if source.commit not in host.commits:
        unknown = Unreadable("the host was not asked for it")
        raise Refused(_unknown(comparison, unknown))
    if host.commits[source.commit] == "present":
        return None
    refuse_absent(comparison.guest, host)
    return source.remote


def _unknown(comparison: Comparison, seen: Unreadable) -> Finding:
    source = comparison.guest.source
    return Finding(
        "unreadable",
        f"whether the host has commit {source.commit} is unknown: {seen.reason}",
        "Run again.",
        guest=comparison.guest.name,
        field="source",
        wanted=str(source),
        severity="error",
    )


def _missing(comparison: Comparison) -> Finding:
    source = comparison.guest.source
    return Finding(
        "missing",
        "its sysroot lacks the commit",
        guest=comparison.guest.name,
        field="commit",
        wanted=comparison.commit or str(source),
    )


def _behind(comparison: Comparison, booted: Deployment) -> Iterator[Finding]:
    guest = comparison.guest
    if guest.source.guest:
        return
    try:
        newest = comparison.newest
    except Refused as refused:
        # It is deployed and needs nothing of its source: that the source is gone is for the next upgrade.
        yield from (replace(finding, severity="note") for finding in refused.findings)
        return
    if newest and newest != booted.checksum:
        problem = comparison.seen.refused_commits.get(newest)
        yield Finding(
            "behind" if problem is None else "refused-commit",
            f"it boots commit {booted.checksum[:12]}, and {guest.source} is {newest[:12]} now"
            f"{'' if problem is None else f', which is refused: {problem}'}",
            "Run deploys/upgrade.py to move it."
            if problem is None
            else f"Fix the commit, or run deploys/upgrade.py with `--data retry={guest.name}`.",
            guest=guest.name,
            field="source",
            wanted=newest,
            seen=booted.checksum,
            severity="note",
        )


def _deployed_itself(comparison: Comparison, booted: Deployment) -> Iterator[Finding]:
    """Yield a note about a deployment that a guest without isolation made."""
    guest, first = comparison.guest, comparison.deployments[0]
    if guest.isolation != "none" or first.id == booted.id:
        return
    own = guest.source.guest
    yield Finding(
        "own-commit",
        f"it has deployed commit {first.checksum[:12]} itself",
        "It boots it at its next start." if own else "Set `source` to 'guest' to let it boot that.",
        guest=guest.name,
        field="deployments",
        wanted=first.checksum if own else booted.checksum,
        seen=booted.checksum if own else first.checksum,
        severity="note",
    )


def pull(comparison: Comparison, checksum: str | None, remote: str | None) -> Step:
    """Return the step that pulls the commit of a guest's source into its sysroot.

    + checksum: the commit; None while the remote has not been asked which one its ref is
    + remote: the remote that has it; None where the host's repository does
    """
    guest = comparison.guest
    name = guest.source.commit or guest.source.ref or ""
    what = f"commit {checksum[:12]}" if checksum else f"ref {name}"
    origin = f"remote {remote}" if remote else "the host's /ostree"
    into = "the host's /ostree" if guest.sysroot == "shared" else f"the sysroot of guest {guest.name}"
    return Step(
        f"pull {what} from {origin} into {into}",
        "pull",
        guest.name,
        (guest.sysroot, remote or "", name if remote else checksum or ""),
        sysroot=bool(remote),
        pulling=bool(remote),
    )
