"""The hosts' uplinks: a veth each, point to point, no route beyond this machine.

Addresses are of 198.51.100.0/24, TEST-NET-2 (RFC 5737): no real host has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import lan
from tests.lab.shell import LabError, retry, run

if TYPE_CHECKING:
    from tests.lab.fleet import HostSpec


def nspawn_option(spec: HostSpec) -> str:
    """Return the option that gives the host a network namespace with `eth0` in it."""
    return f"--network-veth-extra={spec.outer_interface}:eth0"


def address(spec: HostSpec) -> str:
    """Return the address by which the host is reached."""
    return lan.address_of(spec.name) if lan.is_plugged(spec.name) else spec.address


def connect(spec: HostSpec) -> None:
    """Give the outer end its address, or plug it in, as soon as nspawn has made it."""
    retry(lambda: _exists(spec), 30, f"nspawn makes interface {spec.outer_interface}")
    if lan.is_plugged(spec.name):
        lan.plug(spec)
        return
    run("ip", "address", "replace", f"{spec.outer_address}/31", "dev", spec.outer_interface)
    run("ip", "link", "set", spec.outer_interface, "up")


def disconnect(spec: HostSpec) -> None:
    """Remove the outer end, should it be left."""
    try:
        run("ip", "link", "delete", spec.outer_interface)
    except LabError:  # it goes by itself too, once the host's network namespace is gone
        if _exists(spec):
            raise


def _exists(spec: HostSpec) -> bool:
    return Path(f"/sys/class/net/{spec.outer_interface}").exists()
