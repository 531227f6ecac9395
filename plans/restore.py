"""Restore a guest from an archive, where there is none of its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pyinfra_nspawn.facts.archive import Archive
from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.k3s_store import SPARE_BYTES, is_whole
from pyinfra_nspawn.plans.source import refuse_absent
from pyinfra_nspawn.plans.step import Step, Transfer
from pyinfra_nspawn.specs.artifact import Artifact
from pyinfra_nspawn.specs.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.guest import Stage
    from pyinfra_nspawn.specs import Guest

STORE = ".k3s"
"""The directory of a host with the files that it was sent, by their digests."""


@dataclass(frozen=True)
class Restoration:
    """What a guest is restored from, and with which identity.

    + archive: None where its host has none, `Unreadable` where it cannot be read
    + sent: whether it is a file of the controller
    + identity: `same`, or `new`
    + original: problem and hint, where the original may still run; None otherwise
    """

    archive: Archive | Unreadable | None
    sent: bool = False
    identity: Literal["same", "new"] = "same"
    original: tuple[str, str] | None = None


def restore_with(restoration: Restoration) -> tuple[Stage, Stage]:
    """Return the stages `restore_begin` and `restore` of a run; the guest is deployed between them."""

    def restore_begin(comparison: Comparison) -> Iterator[Step | Finding]:
        """Claim the guest's place, and bring the archive; refuse where anything is in that place."""
        archive = _readable(comparison, restoration.archive)
        if _is_done(comparison, archive):
            return
        if errors := tuple(_refusals(comparison, restoration, archive)):
            raise Refused(*errors)
        name, marker = comparison.guest.name, f"{archive.digest} {restoration.identity}"
        yield Finding(
            "missing", "it is not restored yet", guest=name, field="restored", wanted=archive.digest
        )
        if comparison.seen.restoring != marker:
            words = (archive.digest, restoration.identity)
            yield Step(f"begin to restore guest {name}", "restore-begin", name, words)
        if restoration.sent and not _is_stored(comparison, archive):
            artifact = Artifact(path=archive.file, sha256=archive.sha256)
            text = f"send {artifact.name} ({archive.size / 2**20:.0f} MiB)"
            yield Step(text, "store-append", name, transfer=Transfer(artifact, "archive"))

    def restore(comparison: Comparison) -> Iterator[Step | Finding]:
        """Unpack the archive; have the guest boot its commit, with its /etc and its /var."""
        archive = _readable(comparison, restoration.archive)
        if _is_done(comparison, archive):
            return
        guest = comparison.guest
        file = f"{STORE}/{archive.sha256}" if restoration.sent else f".backups/{guest.name}/{archive.file}"
        who = ", as a new machine" if restoration.identity == "new" else ""
        yield Step(
            f"restore /etc and /var of guest {guest.name} from {archive.file}{who}",
            "restore",
            guest.name,
            (guest.sysroot, archive.commit, file, archive.digest, restoration.identity),
            sysroot=guest.sysroot == "shared",
        )

    return restore_begin, restore


def restored(guest: Guest, restoration: Restoration) -> Guest:
    """Return the guest with the commit of the archive as its source; unchanged where there is no archive."""
    archive = restoration.archive
    if not isinstance(archive, Archive):
        return guest
    source = Source(commit=archive.commit, remote=guest.source.remote)
    return guest if guest.source.guest else guest.model_copy(update={"source": source})


def half_restored(comparison: Comparison) -> Finding:
    """Return the error about a guest whose restore was interrupted: nothing else is done with it."""
    return Finding(
        "interrupted",
        "its restore was interrupted",
        "Run deploys/restore.py again, or remove it with `purge: True`.",
        guest=comparison.guest.name,
        field="restoring",
        seen=comparison.found.restoring or "",
        severity="error",
    )


def _is_done(comparison: Comparison, archive: Archive) -> bool:
    """Return whether the guest is what the archive made, and boots its commit still."""
    seen, current = comparison.seen, comparison.current
    boots = current is not None and current.checksum == archive.commit
    return boots and seen.restoring is None and seen.restored == archive.digest


def _readable(comparison: Comparison, archive: Archive | Unreadable | None) -> Archive:
    """Return the archive; raise `Refused` where there is none, or it cannot be read."""
    if archive is None:
        problem, hint = (
            "its host has no archive of it",
            "Name a file of the controller: `--data restore_from=PATH`.",
        )
        raise Refused(_error(comparison, problem, hint))
    if isinstance(archive, Unreadable):
        raise Refused(_error(comparison, f"the archive: {archive.reason}", "Take another one."))
    return archive


def _refusals(comparison: Comparison, restoration: Restoration, archive: Archive) -> Iterator[Finding]:
    guest, new = comparison.guest, restoration.identity == "new"
    if comparison.found.restoring is None:
        yield from _in_its_place(comparison)
    yield from _unavailable(comparison)
    yield from _full(comparison, restoration, archive)
    if guest.source.guest:
        problem = "it deploys for itself, and the archive has no commit"
        yield _error(comparison, problem, "Set its `source` to the commit, or the ref, that it boots.")
    if archive.guest != guest.name and not new:
        problem = f"the archive is of guest {archive.guest}"
        yield _error(comparison, problem, "Restore it under that name, or with `--data restore_as=new`.")
    if archive.joined and new:
        problem = "the archive holds the identity of a k3s node"
        yield _error(comparison, problem, "Restore it as it is, or make a new guest.")
    if restoration.original and not new:
        yield _error(comparison, *restoration.original)


def _in_its_place(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for a guest of that name, or its /var: nothing is replaced."""
    seen, name = comparison.found, comparison.guest.name
    if seen.current:
        problem = f"the host has a guest {name}, and nothing is replaced"
        yield _error(comparison, problem, "Back it up, remove it with `purge: True`, then run again.")
    elif comparison.own is not None or comparison.other is not None:
        problem = f"the host has a stateroot {name}, perhaps with the /var of a guest that was removed"
        yield _error(comparison, problem, "Remove it with `purge: True`, then run again.")


def _unavailable(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for a commit that neither the host nor a remote of the source has.

    Also where the guest is still there: after its removal the commit may be gone.
    """
    source, host = comparison.guest.source, comparison.host
    if source.commit and host.commits.get(source.commit) not in (None, "present"):
        try:
            refuse_absent(comparison.guest, host)
        except Refused as refused:
            yield from refused.findings


def _full(comparison: Comparison, restoration: Restoration, archive: Archive) -> Iterator[Finding]:
    """Yield an error where the host has no room for the archive and its contents."""
    host = comparison.snapshot.host
    needed = archive.size * (2 if restoration.sent else 1) + SPARE_BYTES
    if isinstance(host, Host) and comparison.found.restoring is None and host.free_bytes < needed:
        problem = f"a restore needs {needed // 2**20} MiB, and the host has {host.free_bytes // 2**20} left"
        yield replace(
            _error(comparison, problem, "Free some below /var/lib."), kind="unfit", field="free_bytes"
        )


def _is_stored(comparison: Comparison, archive: Archive) -> bool:
    host = comparison.snapshot.host
    return isinstance(host, Host) and is_whole(host, archive.sha256)


def _error(comparison: Comparison, problem: str, hint: str) -> Finding:
    found = Finding("impossible", problem, hint, guest=comparison.guest.name, field="restored")
    return replace(found, severity="error")
