"""The preconditions of k3s are tested in real guests: with all that a guest can have, without, and mapped.

The lab's kernel loads no module and delegates no controller: tests/vm has a guest that is ready. On lab2
systemd-nspawn allows keyrings by itself.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.guest import inside
from tests.lab.script import script
from tests.lab.shell import retry

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.lab import Host

PREPARED = {
    "name": "prepared",
    "isolation": "overlay",
    "capabilities": ["all"],
    "system_calls": ["@keyring", "bpf"],
    "devices": ["/dev/kmsg r"],
    "binds": [{"source": "/sys/module"}],
}
GUESTS = [
    PREPARED,
    {"name": "plain", "isolation": "overlay"},
    {"name": "mapped"},
    {**PREPARED, "name": "unkeyed", "system_calls": ["bpf"]},
]
#: What only the guest's definition gives it.
DEFINED = {"kernel-log", "keyring", "bpf", "conntrack-table"}
#: What any guest with real root can do in a network of its own.
ANYWAY = {"overlay", "propagation", "conntrack", "forwarding", "bridge", "vxlan"}
OF_THE_HOST = {"modules", "sysctls", "connections", "controllers"}
WORDS = ("inventories/lab.py", "--limit", "lab1", "--data", f"guests={json.dumps(GUESTS)}")

Found = dict[str, dict[str, str]]


#: What a look must leave as it was, in a guest; other mounts and directories come and go with its services.
TRACES = """
grep -e merged -e /tmp/proc /proc/1/mountinfo; ip -o link show | cut -d : -f 2
find /sys/fs/cgroup -name below; ls -A /var/tmp /tmp | grep run-; cat /proc/sys/net/ipv4/ip_forward; true
"""


def traces(host: Host) -> str:
    return inside(host, "prepared", TRACES)


@pytest.fixture(scope="module")
def tried(fresh: dict[str, Host]) -> Found:
    """The state of each precondition, by guest; nothing else is changed."""
    host = fresh["lab1"]
    outcome = pyinfra("-y", "--limit", "lab1", "deploys/fleet.py", guests=GUESTS)
    assert outcome.code == 0, outcome.stderr
    before = traces(host)
    shown = looked()
    assert shown.returncode == 2
    retry(lambda: traces(host) == before, 20, "nothing is left of what was tested")
    return {
        guest["guest"]: {item["name"]: item["state"] for item in guest["preconditions"]}
        for guest in json.loads(shown.stdout)["guests"]
    }


def looked() -> CompletedProcess[str]:
    return script("k3s", "--json", "--all", *WORDS)


def named(tried: Found, guest: str, state: str) -> set[str]:
    return {name for name, found in tried[guest].items() if found == state} - OF_THE_HOST - {"clock"}


def test_a_guest_that_was_given_what_k3s_needs(tried: Found):
    assert named(tried, "prepared", "met") >= {"real-root", *DEFINED, *ANYWAY}
    assert not named(tried, "prepared", "unmet")


def test_a_guest_without_it(tried: Found):
    assert named(tried, "plain", "unmet") == DEFINED
    assert named(tried, "plain", "met") >= ANYWAY


def test_a_system_call_that_is_filtered_is_named_alone(tried: Found):
    assert named(tried, "unkeyed", "unmet") == {"keyring"}


def test_a_user_namespace_explains_all_that_fails_in_it(tried: Found):
    assert named(tried, "mapped", "unmet") == {"real-root"}
    assert named(tried, "mapped", "untried") >= DEFINED | ANYWAY


def unknown_is_alone() -> None:
    """Expect the guest `plain` to be unknown, in time, and all others to be known."""
    with ThreadPoolExecutor() as beside:
        measuring = beside.submit(script, "status", "--disk", "--json", *WORDS)
        outcome = looked()
        measured = measuring.result()
    assert outcome.returncode == 1, outcome.stderr
    ready = {guest["guest"]: guest["ready"] for guest in json.loads(outcome.stdout)["guests"]}
    assert ready == {"mapped": False, "plain": None, "prepared": False, "unkeyed": False}
    (host,) = json.loads(measured.stdout)["hosts"]
    sizes = {guest["name"]: bool(guest["disk_bytes"]) for guest in host["guests"]}
    assert sizes == {"mapped": True, "plain": False, "prepared": True, "unkeyed": True}


@pytest.mark.usefixtures("tried")
def test_a_guest_that_does_not_answer_is_unknown_and_spoils_no_other(fresh: dict[str, Host]):
    leader = fresh["lab1"].succeed("machinectl show plain -p Leader --value").strip()
    fresh["lab1"].succeed(f"kill -STOP {leader}")
    try:
        unknown_is_alone()
    finally:
        fresh["lab1"].succeed(f"kill -CONT {leader}")


#: A shell that hands what it was given to a process that keeps it.
KEEPER = """#!/bin/bash
sleep 1000 &
disown
exec true
"""


@pytest.mark.usefixtures("tried")
def test_a_guest_that_keeps_the_pipes_it_was_handed_keeps_nobody_waiting(fresh: dict[str, Host]):
    host = fresh["lab1"]
    host.succeed("systemctl -M plain is-system-running --wait")
    inside(host, "plain", f"printf '%s' '{KEEPER}' >/run/sh; chmod 755 /run/sh")
    inside(host, "plain", "mount --bind /run/sh /usr/bin/sh")
    unknown_is_alone()
