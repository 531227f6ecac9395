"""A host with firewalld: what it keeps from guests is said, and what the hint says helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.guest import inside
from tests.vm.conftest import converge
from tests.vm.outside import is_reached

if TYPE_CHECKING:
    from tests.lab.conftest import Outcome
    from tests.vm.conftest import Machines

GUESTS = [{"name": "web", "network": "veth"}]
NOTE = "firewalld drops the DHCP requests of guests on ve-+: its zone public admits none"
ADDRESS = "ip -4 -o address show dev host0 scope global"

#: As docs/concepts/network.md has it.
REMEDY = """
set -e
firewall-cmd --permanent --new-zone=guests
firewall-cmd --permanent --zone=guests --add-interface=ve-+
firewall-cmd --permanent --zone=guests --add-service=dhcp
firewall-cmd --permanent --zone=guests --add-service=dns
firewall-cmd --permanent --new-policy=guests-out
firewall-cmd --permanent --policy=guests-out --add-ingress-zone=guests
firewall-cmd --permanent --policy=guests-out --add-egress-zone=ANY
firewall-cmd --permanent --policy=guests-out --set-target=ACCEPT
firewall-cmd --reload
"""

pytestmark = pytest.mark.full


def deploy() -> Outcome:
    return converge("-y", "--json", "--limit", "vm1", guests=GUESTS)


def test_with_networkd_a_zone_that_admits_no_dhcp_is_a_note(booted: Machines, outside: int):
    machine = booted["vm1"]
    machine.succeed("systemctl start firewalld")
    assert NOTE in deploy().stderr
    assert NOTE in deploy().stderr  # whether anything is to be done or not
    assert inside(machine, "web", ADDRESS) == ""
    machine.succeed(REMEDY)
    is_reached(machine, "web", outside)
    assert "firewalld" not in deploy().stderr


def test_networkmanager_sees_to_it_by_itself(managed: Machines, outside: int):
    machine = managed["vm1"]
    machine.succeed("systemctl start firewalld")
    assert "firewalld" not in deploy().stderr
    is_reached(machine, "web", outside)
    assert "ve-web" in machine.succeed("firewall-cmd --zone=nm-shared --list-interfaces")
