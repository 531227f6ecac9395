"""The command that starts a guest: systemd-nspawn(1) and its arguments, as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.k3s import IMAGES, PLACE
from pyinfra_nspawn.specs.paths import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.specs import Bind, Guest
    from pyinfra_nspawn.specs.layout import Layout
    from pyinfra_nspawn.specs.network import GuestNetwork

_DEVICES = ("/dev/net/tun rwm", "char-pts rw")
"""What every guest may open. The template's list has loop and device-mapper devices too, for disk images."""


def devices(guest: Guest) -> tuple[str, ...]:
    """Return what the guest may open, sorted, in the words of DeviceAllow=."""
    return tuple(sorted({*_DEVICES, *guest.devices}))


def bind_paths(layout: Layout) -> tuple[str, ...]:
    """Return what the unit binds, `SOURCE:TARGET`, for nspawn to bind it into the guest.

    nspawn mounts the deployment id-mapped over itself, and no mount can be id-mapped twice: the guest's own
    /etc is bound from another place, which only this unit sees.
    """
    etc = f"{layout.current}/etc:{layout.mounts}/etc"
    return (etc, f"{layout.var}:{layout.mounts}/var") if layout.shared else (etc,)


def command(guest: Guest, layout: Layout, credentials: dict[str, str]) -> tuple[str, ...]:
    """Return the command and its arguments, as the guest's unit runs it.

    + credentials: path on the host by the credential's name
    """
    return (
        *_prepare(guest, layout),
        "systemd-nspawn",
        "--quiet",
        "--keep-unit",
        "--boot",
        "--settings=no",
        "--notify-ready=yes",
        f"--machine={guest.name}",
        f"--directory={layout.current}",
        *_isolation(guest, layout),
        *_mounts(guest, layout),
        *_settings(guest),
        *(f"--load-credential={name}:{path}" for name, path in sorted(credentials.items())),
        *_network(guest.network),
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        *(f"systemd.mask={unit}" for unit in sorted(set(guest.mask_units))),
    )


def _prepare(guest: Guest, layout: Layout) -> tuple[str, ...]:
    """Return the shell that prepares what nspawn mounts; nothing where that needs none.

    On most hosts /sysroot is read-only, and so is what is bound from it: the unit makes its own view
    writable.
    """
    script = []
    if layout.shared:
        script += [f"mount -o remount,bind,rw {layout.mounts}/{name};" for name in ("etc", "var")]
    if guest.isolation == "none":
        script += [f": >{layout.mounts}/ostree-booted;"]
    return ("sh", "-ec", " ".join([*script, 'exec "$0" "$@"'])) if script else ()


def _isolation(guest: Guest, layout: Layout) -> tuple[str, ...]:
    match guest.isolation:
        case "private-users":
            return ("--read-only", "--private-users=pick", "--private-users-ownership=map")
        case "overlay":
            return ("--volatile=overlay", "--private-users=no")
        case "none":
            return (
                "--read-only",
                "--private-users=no",
                f"--bind-ro={layout.sysroot_directory}:/sysroot:norbind",
                f"--bind-ro={layout.boot}:/boot:norbind",
                f"--bind-ro={layout.mounts}/ostree-booted:/run/ostree-booted",
            )


def _mounts(guest: Guest, layout: Layout) -> Iterator[str]:
    mapped = ":idmap" if guest.isolation == "private-users" else ""
    var = f"{layout.mounts}/var" if layout.shared else layout.var
    yield f"--bind={layout.mounts}/etc:/etc{mapped}"
    yield f"--bind={var}:/var{mapped}"
    for bind in sorted(guest.binds, key=target):
        option = "--bind-ro" if bind.read_only else "--bind"
        yield f"{option}={bind.source}:{target(bind)}{mapped if bind.idmap else ''}"
    if guest.k3s and guest.k3s.binary:
        # Directories: another binary appears in them without a restart of the guest.
        yield f"--bind-ro={layout.k3s}:{PLACE}"
        yield f"--bind-ro={layout.k3s}/images:{IMAGES}"
    for path, access in sorted(map(str.split, guest.devices)):
        yield f"--bind={path}" if "w" in access else f"--bind-ro={path}"


def target(bind: Bind) -> str:
    """Return where a bind is mounted in the guest, with the links of an OSTree tree resolved.

    nspawn mounts in the order of paths: what it mounts on /srv, a link to /var/srv, is hidden by the mount
    on /var.
    """
    return canonical(bind.target or bind.source)


def _network(network: GuestNetwork) -> tuple[str, ...]:
    match network.kind:
        case "bridge":
            return (f"--network-bridge={network.name}",)
        case "zone":
            return (f"--network-zone={network.name}",)
        case "host":
            return ()
        case _:
            return ("--network-veth",)


def _settings(guest: Guest) -> Iterator[str]:
    yield f"--hostname={guest.hostname or guest.name}"
    if guest.machine_id:
        yield f"--uuid={guest.machine_id}"
    if guest.capabilities:
        yield f"--capability={_listed(guest.capabilities)}"
    for call in sorted(set(guest.system_calls)):
        yield f"--system-call-filter={call}"
    for name, value in sorted(guest.environment.items()):
        yield f"--setenv={name}={value}"


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(set(names)))
