"""Giving a host up: refused as long as anything of a guest would be left, and then nothing of ours stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.network import Network
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.plans.host import concerns_of, plan_host
from pyinfra_nspawn.plans.links import PAIRS, RULES, zone_path
from pyinfra_nspawn.reports.drift import drift_of
from pyinfra_nspawn.reports.visit import Visit
from pyinfra_nspawn.specs import Guest, HostSettings
from pyinfra_nspawn.specs.inventory import guests_from
from pyinfra_nspawn.specs.k3s import MODULES_FILE
from tests.unit.seen import HOST, UNKNOWN, error, finding, guest, running, snapshot, step, verbs

if TYPE_CHECKING:
    from pyinfra_nspawn.plans.plan import Plan

GIVEN_UP = HostSettings(state="absent")
SYSCTL = "/etc/sysctl.d/60-pyinfra-nspawn.conf"
OURS = replace(
    HOST, sysctl_file="# Managed by pyinfra-nspawn\nfs.inotify.max_user_instances = 144\n", state_version=1
)
GONE = guest(state="absent", purge=True)


def planned(*guests: Guest, facts: object = OURS, **seen: object) -> Plan:
    return plan_host(GIVEN_UP, guests, snapshot(host_facts=facts, **seen), concerns_of(GIVEN_UP))


def test_what_is_ours_is_removed():
    found = planned(GONE, guests={"web": running(GONE)})
    assert not found.errors
    assert verbs(found) == ["decommission"]
    assert [diff.path for diff in step(found, "decommission").diffs] == [SYSCTL]
    assert finding(found, "extra").wanted == "absent"


def test_the_files_for_networkmanager_are_removed_too():
    files = {RULES: "a\n", PAIRS: "b\n", zone_path("lab"): "c\n"}
    found = planned(network=Network({}, files=files))
    assert [diff.path for diff in step(found, "decommission").diffs] == [*sorted(files), SYSCTL]


def test_the_files_for_k3s_are_removed_too():
    ours = replace(OURS, k3s_modules_file="# Managed by pyinfra-nspawn\n", k3s_sysctls_file="foreign\n")
    found = planned(facts=ours)
    assert [diff.path for diff in step(found, "decommission").diffs] == [MODULES_FILE, SYSCTL]


def test_nothing_is_due_where_nothing_is_ours():
    assert not planned(facts=HOST).findings
    assert not planned(facts=replace(HOST, sysctl_file="fs.inotify.max_user_instances = 200\n")).steps


@pytest.mark.parametrize("seen", [running(guest()), GuestSeen(directory="700 0:0")], ids=["runs", "var"])
def test_a_var_that_would_be_left_is_in_the_way(seen: GuestSeen):
    found = error(planned(guest(state="absent"), guests={"web": seen}), "impossible")
    assert (found.field, found.wanted) == ("purge", "web")


@pytest.mark.parametrize("seen", [running(guest()), GuestSeen(directory="700 0:0")], ids=["runs", "var"])
def test_a_guest_that_no_inventory_names_is_in_the_way(seen: GuestSeen):
    assert error(planned(guests={"web": seen}), "orphan").seen == "web"


def test_somebody_elses_machine_is_not():
    assert verbs(planned(guests={"other": GuestSeen(image="/var/lib/machines/other")})) == ["decommission"]


@pytest.mark.parametrize("guests", [UNKNOWN, {"web": UNKNOWN}], ids=["all", "one"])
def test_what_cannot_be_read_is_in_the_way(guests: object):
    assert error(planned(GONE, guests=guests), "unreadable")


def test_drift_names_what_is_in_the_way_and_what_is_left():
    seen = snapshot(host_facts=OURS, guests={"web": running(guest())})
    found = drift_of([Visit("lab1", GIVEN_UP, (), seen)]).findings
    assert [item.kind for item in found] == ["orphan", "extra"]


def test_every_guest_of_a_host_that_is_given_up_is_absent():
    for settings in ({"state": "absent"}, GIVEN_UP):
        data = {
            "nspawn_host": settings,
            "guests": [{"name": "web", "purge": True}, Guest(name="db", state="stopped")],
        }
        assert [found.state for found in guests_from(data, "lab1")] == ["absent", "absent"]
