"""The main job over SSH: a plan, a first run, a second run that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.guest import inside
from tests.vm.conftest import BOTH, ON, converge

if TYPE_CHECKING:
    from tests.vm.conftest import Machines, MainJob

STEPS = ("make the OSTree sysroot", "pull commit", "deploy commit", "point ", "guest ", "enable ")


def test_a_dry_run_changes_nothing(main_job: MainJob):
    assert main_job.after_plan == main_job.before


def test_a_dry_run_says_what_the_first_run_does(main_job: MainJob):
    for name in BOTH:
        planned = [line for line in main_job.planned.lines(name) if line.startswith((*STEPS, "wait", "set"))]
        for guest in ON[name]:
            assert any(line.startswith(f"guest {guest}: write") for line in planned), main_job.planned.stderr
        assert [line for line in main_job.first.lines(name) if line in planned] == planned


def test_the_first_run_makes_the_guests(guests: Machines, main_job: MainJob):
    assert main_job.first.json["results"]["failed_hosts"] == []
    for machine in guests.values():
        for guest in ON[machine.name]:
            assert machine.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
            assert inside(machine, guest, "cat /usr/lib/lab-release") == "13.1\n"


def test_the_second_run_changes_nothing(main_job: MainJob):
    results = main_job.second.json["results"]
    assert results["totals"]["success"] == 0, main_job.second.stderr
    assert all(sorted(item["no_change"]) == BOTH for item in results["operations"])
    for name in BOTH:
        assert main_job.asked_again[name] - main_job.asked[name] == 2


@pytest.mark.usefixtures("guests")
def test_a_dry_run_of_what_is_there_plans_nothing():
    plan = converge("--dry", "--json").json["plan"]
    assert plan
    assert not any(item["hosts_with_change"] for item in plan)
