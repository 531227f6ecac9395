"""The command that enters a guest without its init, in a unit that has the same wall as the guest's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.render.nspawn import bind_paths, command, devices
from pyinfra_nspawn.specs.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyinfra_nspawn.specs import Guest

SHELL = ("sh", "-c", "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi")
"""A login shell, with whatever shell the guest has."""
_INIT = ("--boot", "--notify-ready=yes")
# What systemd's template of guests' units has.
_TEMPLATE = ("Slice=machine.slice", "Delegate=yes", "KillMode=mixed", "DevicePolicy=closed")


def rescue_words(guest: Guest, words: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments by which systemd-run(1) runs words in a guest, in place of its init.

    + words: a command of the guest

    The guest has its /etc, its /var, its binds and its network; its init, and so all its units, do not run.
    """
    layout = Layout.of(guest)
    runs = [
        word
        for word in command(guest, layout, {})
        if word not in _INIT and not word.startswith("systemd.mask=")
    ]
    return (
        *(f"--property={item}" for item in _properties(guest, layout)),
        *([f"--setenv=SYSTEMD_NSPAWN_NETWORK_MAC={guest.network.mac}"] if guest.network.mac else []),
        "--",
        # systemd-run expands variables.
        *(word.replace("$", "$$") for word in (*runs, "--as-pid2", "--", *words)),
    )


def _properties(guest: Guest, layout: Layout) -> Iterator[str]:
    yield from _TEMPLATE
    yield f"RequiresMountsFor={layout.directory}"
    yield from (f"BindPaths={path}" for path in bind_paths(layout))
    yield from (f"DeviceAllow={device}" for device in devices(guest))
    limits = guest.limits
    yield f"TasksMax={limits.tasks_max or 16384}"
    if limits.memory_max:
        yield f"MemoryMax={limits.memory_max}"
    if limits.cpu_quota:
        yield f"CPUQuota={limits.cpu_quota}"
    if limits.io_weight:
        yield f"IOWeight={limits.io_weight}"
