"""The files that define a guest on its host, and the trial of a changed definition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.binds import binds, devices
from pyinfra_nspawn.plans.disk import disk
from pyinfra_nspawn.plans.effective import effective
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.foreign import file_diff
from pyinfra_nspawn.plans.outdated import outdated
from pyinfra_nspawn.plans.step import Step, file_line, payload_of
from pyinfra_nspawn.plans.trial import root_warning, trial_step
from pyinfra_nspawn.plans.unit import enablement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import FileSeen
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.plans.step import FileDiff

_OWNER = "0:0"
_DIRECTORY = "700 0:0"


@dataclass(frozen=True)
class _Change:
    """One difference between the definition and its files.

    + finding: the difference
    + text: what is done about it
    + line: of the payload; empty for what the program does for every definition
    + diff: None for what may not be shown
    """

    finding: Finding
    text: str
    line: str = ""
    diff: FileDiff | None = None


def definition(comparison: Comparison) -> Iterator[Step | Finding]:
    """Write what differs of the guest's definition; try it first when the guest runs another one."""
    yield from binds(comparison)
    yield from devices(comparison)
    yield from disk(comparison)
    changes = [*_files(comparison), *_credentials(comparison), *_directory(comparison)]
    reload = _reload(comparison, changes)
    if not (changes or reload):
        yield from effective(comparison)
    yield from (change.finding for change in changes)
    if reload and not changes:
        yield _unloaded(comparison)
    if refused := _refused(comparison):
        yield refused
    if comparison.outdated and comparison.guest.state == "running":
        yield outdated(comparison, "definition", "it runs with another definition than it has now")
    if comparison.tried:
        yield _try(comparison, changes)
        return
    reload = reload and not _is_reloaded_later(comparison)
    if changes or reload:
        yield _write(comparison, changes, reload=reload)


def _files(comparison: Comparison) -> Iterator[_Change]:
    seen, wanted = comparison.seen.files, comparison.definition.files
    for path, content in wanted.items():
        found = seen.get(path)
        if _differs(found, content, "644"):
            finding = _finding(comparison, path, found, _described(content, "644", _OWNER))
            line = file_line("644", path, content)
            yield _Change(finding, f"write {path}", line, file_diff(path, found, content))
    old = comparison.layout.settings_file
    if old in seen:
        finding = _finding(comparison, old, seen[old], "")
        yield _Change(finding, f"remove {old}", f"- {old}", file_diff(old, seen[old], ""))


def _credentials(comparison: Comparison) -> Iterator[_Change]:
    seen, wanted = comparison.seen.credentials, comparison.definition.credentials
    directory = comparison.layout.credentials
    for name, content in wanted.items():
        if _differs(seen.get(name), hashlib.sha256(content.encode()).hexdigest(), "600"):
            line = file_line("600", f"{directory}/{name}", content)
            kind: Kind = "differs" if name in seen else "missing"
            yield _Change(_credential(comparison, name, kind), f"write credential {name} (not shown)", line)
    for name in sorted(set(seen) - set(wanted)):
        finding = _credential(comparison, name, "extra")
        yield _Change(finding, f"remove credential {name}", f"- {directory}/{name}")


def _directory(comparison: Comparison) -> Iterator[_Change]:
    directory = comparison.layout.directory
    if comparison.seen.directory not in (None, _DIRECTORY):
        finding = Finding(
            "differs",
            f"others can enter {directory}",
            guest=comparison.guest.name,
            field=directory,
            wanted=_DIRECTORY,
            seen=comparison.seen.directory or "",
        )
        yield _Change(finding, f"make {directory} 0700")


def _differs(seen: FileSeen | None, content: str, mode: str) -> bool:
    return seen is None or (seen.content, seen.mode, seen.owner) != (content, mode, _OWNER)


def _finding(comparison: Comparison, path: str, seen: FileSeen | None, wanted: str) -> Finding:
    kind: Kind = "extra" if not wanted else "differs" if seen else "missing"
    problems = {"extra": "is no longer used", "differs": "differs", "missing": "is missing"}
    return Finding(
        kind,
        f"{path} {problems[kind]}",
        guest=comparison.guest.name,
        field=path,
        wanted=wanted,
        seen=_described(seen.content, seen.mode, seen.owner) if seen else "",
    )


def _credential(comparison: Comparison, name: str, kind: Kind) -> Finding:
    problems = {"extra": "is no longer wanted", "differs": "differs", "missing": "is missing"}
    return Finding(
        kind,
        f"credential {name} {problems[kind]}",
        guest=comparison.guest.name,
        field=f"credentials.{name}",
    )


def _described(content: str, mode: str, owner: str) -> str:
    """Return a file in short: the beginning of its digest, mode, owner."""
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()[:12]} {mode} {owner}"


def _reload(comparison: Comparison, changes: list[_Change]) -> bool:
    unit = comparison.seen.unit
    pending = unit is not None and unit.need_daemon_reload
    return pending or any(change.finding.field in comparison.definition.files for change in changes)


def _unloaded(comparison: Comparison) -> Finding:
    return Finding(
        "differs",
        "systemd has not loaded the unit's files since they changed",
        guest=comparison.guest.name,
        field="need_daemon_reload",
        wanted="no",
        seen="yes",
    )


def _is_reloaded_later(comparison: Comparison) -> bool:
    """Return whether the next step enables or disables the unit, which makes systemd reload."""
    return "unit" in comparison.stages and bool(enablement(comparison))


def _refused(comparison: Comparison) -> Finding | None:
    """Return an error for a definition that did not come up when it was tried last."""
    guest, digest = comparison.guest, comparison.definition.digest
    unit = comparison.seen.unit
    if guest.state == "stopped" or comparison.seen.refused != digest or (unit and unit.definition == digest):
        return None
    return Finding(
        "refused-definition",
        "the desired definition did not come up when it was tried last",
        f"Change it in the inventory, or fix the cause and remove {comparison.layout.refused}.",
        guest=guest.name,
        field="definition",
        wanted=digest,
        seen=(unit.definition or "") if unit else "",
        severity="error",
    )


def _write(comparison: Comparison, changes: list[_Change], *, reload: bool) -> Step:
    texts = [change.text for change in changes] + (["daemon-reload"] if reload else [])
    return Step(
        f"guest {comparison.guest.name}: {', '.join(texts)}{root_warning(comparison.guest)}",
        "definition",
        comparison.guest.name,
        ("reload" if reload else "",),
        payload_of(change.line for change in changes),
        diffs=_diffs(changes),
    )


def _try(comparison: Comparison, changes: list[_Change]) -> Step:
    """Return the restart with a way back; what it writes becomes the definition when the guest comes up.

    Every credential is sent, and not only those that differ: the trial has its own copies.
    """
    guest, wanted, directory = comparison.guest, comparison.definition, comparison.layout.credentials
    secrets = [file_line("600", f"{directory}/{name}", text) for name, text in wanted.credentials.items()]
    lines = [change.line for change in changes if change.line not in secrets]
    texts = "".join(f"; then {change.text}" for change in changes)
    return trial_step(
        comparison,
        "try",
        f"try the changed definition of guest {guest.name}: "
        f"restart it, go back if it does not come up{texts}",
        lines=[*lines, *secrets],
        diffs=_diffs(changes),
    )


def _diffs(changes: list[_Change]) -> tuple[FileDiff, ...]:
    return tuple(change.diff for change in changes if change.diff)
