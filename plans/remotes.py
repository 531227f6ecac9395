"""The remotes that a host's OSTree repository has for its guests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import Step, file_diffs, file_line, payload_of
from pyinfra_nspawn.specs.base import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.specs import HostSettings
    from pyinfra_nspawn.specs.remote import Remote

_ED25519 = "sign-ed25519"
"""The feature of an ostree that verifies such signatures, as `ostree --version` names it."""


def remotes(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Write the files of the remotes that the inventory names, and remove those of others of ours."""
    present = comparison.host.remote_files
    wanted = comparison.settings.remotes
    if not (present or wanted):
        return
    errors = [*_foreign(comparison), *_not_verifiable(comparison)]
    yield from errors
    files = {path: text for remote in wanted for path, text in remote_files(remote).items()}
    findings = [*_differences(present, files)]
    yield from findings
    if errors or not findings:
        return
    gone = [path for path in present if path not in files]
    changed = {path: text for path, text in files.items() if present.get(path) != text}
    names = ", ".join(sorted({path.rpartition("/")[2].rpartition(".")[0] for path in [*changed, *gone]}))
    lines = [
        *(file_line("644", path, text) for path, text in changed.items()),
        *(f"- {path}" for path in gone),
    ]
    yield Step(
        f"write the remotes of the host's /ostree that differ: {names}",
        "remotes",
        payload=payload_of(lines),
        diffs=file_diffs(present, {**changed, **dict.fromkeys(gone, "")}),
        sysroot=True,
    )


def remote_files(remote: Remote) -> dict[str, str]:
    """Return the contents of a remote's files by path."""
    files = {remote.file: render("remote.conf.j2", remote=remote)}
    if remote.gpg_keys:
        files[remote.keyring] = f"{MANAGED}\n{''.join(remote.gpg_keys)}"
    return files


def _differences(present: Mapping[str, str], files: Mapping[str, str]) -> Iterator[Finding]:
    for path in sorted({*present, *files}):
        if present.get(path) == files.get(path):
            continue
        kind: Kind = "missing" if path not in present else "differs" if path in files else "extra"
        problems = {"missing": "does not exist", "differs": "differs", "extra": "is no longer used"}
        yield Finding(kind, f"{path} {problems[kind]}", field=path, wanted=path if path in files else "")


def _foreign(comparison: HostComparison) -> Iterator[Finding]:
    """Refuse a remote of that name that is not ours."""
    for remote in comparison.settings.remotes:
        if remote.name in comparison.sysroot.remotes and remote.file not in comparison.host.remote_files:
            yield Finding(
                "foreign",
                f"the host has a remote {remote.name} that is not ours",
                f'Give it another name, or run "ostree remote delete {remote.name}" on the host.',
                field=f"remotes.{remote.name}",
                severity="error",
            )


def _not_verifiable(comparison: HostComparison) -> Iterator[Finding]:
    for remote in comparison.settings.remotes:
        if remote.ed25519_key and _ED25519 not in comparison.host.ostree_features:
            yield Finding(
                "unfit",
                f"remote {remote.name}: the host's ostree verifies no ed25519 signatures",
                "Sign its commits with a GPG key too, and give that one.",
                field=f"remotes.{remote.name}",
                severity="error",
            )


def with_remotes(snapshot: Snapshot, settings: HostSettings) -> Snapshot:
    """Return a host as it will be once it has the remotes of its settings."""
    sysroots = snapshot.sysroots
    if isinstance(sysroots, Unreadable) or isinstance(sysroots.host, Unreadable):
        return snapshot
    known = {**sysroots.host.remotes, **{remote.name: remote.url for remote in settings.remotes}}
    return replace(snapshot, sysroots=replace(sysroots, host=replace(sysroots.host, remotes=known)))
