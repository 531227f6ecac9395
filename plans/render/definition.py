"""A guest's definition, rendered: drop-ins, credentials, and the digest of what takes a restart to change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.render.choice import choose
from pyinfra_nspawn.plans.render.digest import digest_of
from pyinfra_nspawn.plans.render.disk import join_project
from pyinfra_nspawn.plans.render.nspawn import bind_paths, command, devices
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.specs.credentials import composed
from pyinfra_nspawn.specs.layout import Layout

if TYPE_CHECKING:
    from pyinfra_nspawn.specs import Guest


@dataclass(frozen=True)
class Definition:
    """A guest's definition.

    + digest: a running guest's definition is known by it
    + boot, limits: the drop-ins' paths
    + files: contents of both by path
    + trial: the drop-in in which a changed definition, or another commit, is tried
    + credentials: contents by name; secret
    + command: what the unit runs
    + devices: what the guest may open, sorted
    """

    digest: str
    boot: str
    limits: str
    files: dict[str, str]
    trial: str
    credentials: dict[str, str] = field(repr=False)
    command: tuple[str, ...]
    devices: tuple[str, ...]


def define(guest: Guest) -> Definition:
    """Render everything that defines `guest` on its host."""
    layout = Layout.of(guest)
    credentials = composed(guest)
    runs = command(guest, layout, _paths(credentials, layout.credentials))
    digest = digest_of(
        guest.name,
        {
            "command": runs,
            "devices": list(devices(guest)),
            "bind_paths": sorted(bind_paths(layout)),
            "chooses_itself": guest.source.guest,
            **({"mac": guest.network.mac} if guest.network.mac else {}),
            **({"has_disk_limit": True} if guest.limits.disk_max else {}),
        },
        credentials,
    )
    boot, limits = f"{layout.dropins}/50-ostree.conf", f"{layout.dropins}/60-limits.conf"
    tried = replace(layout, tried=True)
    return Definition(
        digest=digest,
        boot=boot,
        limits=limits,
        files={
            boot: _boot(guest, layout, digest, runs),
            limits: render("60-limits.conf.j2", guest=guest),
        },
        trial=_boot(guest, tried, digest, command(guest, tried, _paths(credentials, tried.credentials))),
        credentials=credentials,
        command=runs,
        devices=devices(guest),
    )


def _paths(credentials: dict[str, str], directory: str) -> dict[str, str]:
    return {name: f"{directory}/{name}" for name in credentials}


def _boot(guest: Guest, layout: Layout, digest: str, runs: tuple[str, ...]) -> str:
    return render(
        "50-ostree.conf.j2",
        layout=layout,
        digest=digest,
        bind_paths=bind_paths(layout),
        choose=choose(layout) if guest.source.guest else (),
        command=runs,
        devices=devices(guest),
        bridge=guest.network.name if guest.network.kind == "bridge" else None,
        mac=guest.network.mac,
        join_project=join_project(layout, guest.start_timeout_seconds) if guest.limits.disk_max else (),
    )
