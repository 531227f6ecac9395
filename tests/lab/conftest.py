"""The lab's hosts, and pyinfra run against them as an administrator would."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import hosts, lab, lan, preloaded, ssh
from tests.lab.host import reset
from tests.lab.vm.machine import machines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.lab import Host
    from tests.lab.lan import Lan
    from tests.lab.protocol import Machine

ROOT = Path(__file__).parents[2]
PYINFRA = Path(sys.executable).with_name("pyinfra")
BOTH = ["lab1", "lab2"]
DEPLOYS = ("deploys/host.py", "deploys/guest.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        reason = pytest.mark.skip(reason="the lab boots machines: it needs root")
        for item in items:
            if Path(item.path).is_relative_to(Path(__file__).parent):
                item.add_marker(reason)


@pytest.fixture(scope="session")
def have_up() -> Iterator[Callable[[list[str]], dict[str, Host]]]:
    """Have hosts up, by name; the lab is left as it was found, up or down."""
    was_up = any(machine.is_running for machine in (*hosts().values(), *machines().values()))

    def have(names: list[str]) -> dict[str, Host]:
        lab.up(names)
        return {name: hosts()[name] for name in names}

    yield have
    if not was_up:
        lab.down()


@pytest.fixture(scope="session")
def lab_hosts(have_up: Callable[[list[str]], dict[str, Host]]) -> dict[str, Host]:
    """Both hosts, up."""
    return have_up(BOTH)


@pytest.fixture(scope="module")
def fresh(lab_hosts: dict[str, Host]) -> dict[str, Host]:
    """Both hosts, as they were installed."""
    reset(lab_hosts.values())
    return lab_hosts


UPLINK = """[Match]
Name=eth0

[Network]
DHCP=ipv4
"""
ORIGINAL = "/etc/systemd/network/00-original.network"


@pytest.fixture(scope="module")
def network(fresh: dict[str, Host]) -> Iterator[Lan]:
    """Both hosts, as they were installed, plugged into a network in which they ask for their addresses."""
    with plugged(fresh) as found:
        yield found


@contextmanager
def plugged(fresh: dict[str, Host]) -> Iterator[Lan]:
    """Have hosts that were just installed ask for their addresses in a network; then install them anew."""
    with lan.lan() as found:
        for host in fresh.values():
            host.succeed(f"cd {Path(ORIGINAL).parent} && rm 10-uplink.network && echo '{UPLINK}' >{ORIGINAL}")
            found.plug(host.spec, host.succeed("cat /sys/class/net/eth0/address").strip())
        found.serve()
        ssh.prepare()
        for host in fresh.values():
            host.succeed("networkctl reload")
            host.wait_until_succeeds(f"ip address show dev eth0 | grep -q {lan.address_of(host.name)}/")
        yield found
    reset(fresh.values())


@dataclass(frozen=True)
class Outcome:
    """How a run of pyinfra ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    def hosts(self, kind: str) -> dict[str, list[str]]:
        """Return the hosts in an operation's `success`, `error` or `no_change` list, by its name."""
        return {item["name"]: item[kind] for item in self.json["results"]["operations"]}

    def lines(self, host: str) -> list[str]:
        """Return what was said of a host."""
        mark = f"[{host}] "
        return [line.strip().removeprefix(mark) for line in self.stderr.splitlines() if mark in line]


def pyinfra(
    *arguments: str, inventory: str = "inventories/lab.py", kill_after: int = 0, **data: object
) -> Outcome:
    """Run pyinfra in the repository, with `data` instead of the inventory's.

    + kill_after: the number of the remote command whose sending kills it; 0 lets it live
    """
    options = [word for key, value in data.items() for word in ("--data", f"{key}={json.dumps(value)}")]
    done = preloaded.pyinfra(*options, inventory, *arguments, timeout=600, kill_after=kill_after)
    return Outcome(done.returncode, done.stdout, done.stderr)


def deploy(*options: str, guests: Sequence[object] | None = None, **data: object) -> Outcome:
    """Run both deploys, `-y --json` unless told otherwise; `guests` instead of the inventory's."""
    if guests is not None:
        data["guests"] = list(guests)
    return pyinfra(*(options or ("-y", "--json")), *DEPLOYS, **data)


def succeed(*options: str, **data: Any) -> Outcome:
    """Run both deploys and expect them to succeed on every host."""
    outcome = deploy(*options, **data)
    assert outcome.code == 0, outcome.stderr
    return outcome


def remote_commands(host: Machine) -> int:
    """Count the commands that the host's sshd has been asked for since it was booted."""
    host.succeed("journalctl --sync")
    log = host.succeed("journalctl --boot --output=cat --identifier=sshd-session --identifier=sshd")
    return sum("Starting session: command" in line for line in log.splitlines())
