"""From a pyinfra inventory to the hosts and guests that are checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import guests_from, settings_from
from pyinfra_nspawn.verify.places import Guest, Host
from pyinfra_nspawn.verify.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

PYINFRA = Path(sys.executable).with_name("pyinfra")


def read(inventory: str, sockets: Path) -> list[Host]:
    """Return the inventory's hosts with their guests; `sockets` is where SSH connections are shared.

    pyinfra itself says what is in the inventory: group data, connectors and all. Secrets of our specs
    come out masked.
    """
    done = subprocess.run(
        [PYINFRA, inventory, "debug-inventory", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise pytest.UsageError(f"pyinfra cannot read the inventory {inventory}:\n{done.stderr.strip()}")
    hosts = json.loads(done.stdout)
    if not hosts:  # so too where there is no such file
        raise pytest.UsageError(f"the inventory {inventory} has no hosts:\n{done.stderr.strip()}")
    return [_host(item["name"], item["data"], sockets / str(number)) for number, item in enumerate(hosts)]


def _host(name: str, data: dict[str, Any], socket: Path) -> Host:
    try:
        wanted = guests_from(data, f"inventory of {name}")
        settings = settings_from(data, f"inventory of {name}")
    except InvalidSpecError as error:
        raise pytest.UsageError(str(error)) from None
    host = Host(name, Shell(name, data, socket) if _is_ssh(name) else None)
    host.guests = [Guest(host, spec) for spec in wanted if spec.state != "absent"]
    host.absent = [spec for spec in wanted if spec.state == "absent"]
    host.bridge = settings.bridge
    return host


def _is_ssh(name: str) -> bool:
    return not name.startswith("@") or name.startswith("@ssh/")


def parameters(hosts: list[Host]) -> Iterator[Any]:
    """Yield a pytest parameter for each host, under its name."""
    for host in hosts:
        yield pytest.param(host, id=host.name, marks=_marks(host))


def guest_parameters(hosts: list[Host]) -> Iterator[Any]:
    """Yield a pytest parameter for each guest, under its host's and its own name."""
    for host in hosts:
        for guest in host.guests:
            yield pytest.param(guest, id=f"{host.name}-{guest.spec.name}", marks=_marks(host))


def _marks(host: Host) -> list[pytest.MarkDecorator]:
    if host.shell is None:
        return [
            pytest.mark.skip(reason=f"{host.name} is not reached over SSH: these checks know no other way")
        ]
    return []
