"""Try a change that takes a restart of a guest; the guest goes back where it does not come up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.health import files_to_look_for
from pyinfra_nspawn.plans.step import Step, encoded, payload_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.step import FileDiff
    from pyinfra_nspawn.specs import Guest
    from pyinfra_nspawn.specs.checks import Checks


def trial_step(
    comparison: Comparison,
    verb: str,
    text: str,
    arguments: tuple[str, ...] = (),
    *,
    lines: Iterable[str] = (),
    diffs: tuple[FileDiff, ...] = (),
) -> Step:
    """Return the step that restarts a guest with a change, and keeps the change if the guest comes up.

    + verb: `try`, `upgrade` or `rollback`
    + text: what it does, for the administrator
    + arguments: of that verb, after those of every trial
    + lines: of the payload: the files that are written when it is kept
    + diffs: of these files
    """
    guest, wanted = comparison.guest, comparison.definition
    # No copy at a rollback: it may need the one from before the upgrade.
    copies = ["snapshot"] if guest.snapshot and verb == "upgrade" else []
    payload = [f"trial {encoded(wanted.trial)}", *_check_lines(guest.checks), *copies, *lines]
    return Step(
        f"{text}{root_warning(guest)}",
        verb,
        guest.name,
        (
            str(guest.start_timeout_seconds),
            guest.on_degraded,
            wanted.digest,
            files_to_look_for(guest),
            *arguments,
        ),
        payload_of(payload),
        diffs=diffs,
        program=True,
        sysroot=verb == "upgrade" and guest.sysroot == "shared",
    )


def root_warning(guest: Guest) -> str:
    """Return the end of a step's text about a guest without a wall: see docs/concepts/isolation.md."""
    return "; its root is root on the host" if guest.is_host_root else ""


def _check_lines(checks: Checks) -> Iterator[str]:
    """Yield the lines of a payload by which the program on the host checks the guest."""
    found = [
        f"check {kind} {encoded(text)}"
        for kind, texts in (
            ("unit", checks.units),
            ("command", checks.commands),
            ("tcp", checks.tcp),
            ("http", checks.http),
        )
        for text in texts
    ]
    if found or checks.settle_seconds:
        yield f"check within {checks.timeout_seconds} {checks.settle_seconds}"
        yield from found
