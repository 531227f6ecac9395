"""Decommission a host: refuse while guests remain, then remove our files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.foreign import is_managed, is_our_guest
from pyinfra_nspawn.plans.k3s import k3s_files
from pyinfra_nspawn.plans.links import links_files
from pyinfra_nspawn.plans.network import bridges_of
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.step import Step, file_diffs
from pyinfra_nspawn.specs.host import STATE_DIRECTORY, SYSCTL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.host import HostComparison


def guests_may_go(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Yield an error for each guest of which something would be left: nothing is removed then."""
    named = {guest.name: guest for guest in comparison.guests}
    for name, guest in sorted(readable("the host's guests", comparison.snapshot.guests).items()):
        seen = readable(f"guest {name}", guest)
        if not (seen.directory or is_our_guest(seen)):
            continue
        if name not in named:
            problem = f"guest {name} is on the host, and in no inventory"
            hint = "Add it to the inventory, with `purge: True`, or move it to another host."
            yield Finding("orphan", problem, hint, field="guests", seen=name, severity="error")
        elif not named[name].purge:
            problem = f"the /var of guest {name} would be left on the host"
            hint = f"Give it `purge: True`, or save what you need of it and remove {STATE_DIRECTORY}/{name}."
            yield Finding("impossible", problem, hint, field="purge", wanted=name, severity="error")


def bridge_is_gone(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Yield an error for a bridge of ours: its removal takes a confirmation of its own."""
    seen = readable("the host's network", comparison.snapshot.network)
    for name in bridges_of(seen):
        problem = f"the host has bridge {name}"
        hint = f"Run deploys/network.py with `bridge: {{name: {name}, state: absent}}` first."
        yield Finding("impossible", problem, hint, field="bridge", seen=name, severity="error")


def own_files(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Remove our files from the host.

    machines.target stays enabled, the limit in force stays until the next boot, and SELinux and layered
    packages stay as they are: others may have come to need them.
    """
    host, network = comparison.host, readable("the host's network", comparison.snapshot.network)
    files = {path: network.files[path] for path in links_files(network)}
    files |= k3s_files(host) | host.remote_files
    if is_managed(host.sysctl_file or ""):
        files[SYSCTL_FILE] = host.sysctl_file or ""
    if not files and not host.state_version:
        return
    yield Finding(
        "extra", "the host has files of pyinfra-nspawn", field="state", wanted="absent", seen="present"
    )
    yield Step(
        f"remove {', '.join([STATE_DIRECTORY, *files])}",
        "decommission",
        network=bool(links_files(network)),
        diffs=file_diffs(files, dict.fromkeys(files, "")),
    )
