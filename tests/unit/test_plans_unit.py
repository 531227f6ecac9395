"""When a guest is started, restarted, awaited, stopped, and when it is left alone."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen, Machine
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans.unit import unit
from tests.unit.seen import NEW, UNIT, current, guest, running


def action(plan: Plan) -> tuple[str, str]:
    _, enablement, what, *_ = plan.steps[0].arguments
    return enablement, what


def test_a_new_guest_is_enabled_and_started():
    plan = unit(guest(start_timeout_seconds=30), {})
    assert action(plan) == ("enable", "start")
    assert plan.steps[0].arguments[3] == "30"


def test_a_running_guest_is_left_alone():
    assert unit(guest(), {"web": running(guest())}) == Plan()


def test_another_definition_restarts():
    plan = unit(guest(hostname="new"), {"web": running(guest())})
    assert action(plan) == ("", "restart")
    assert "runs with another definition" in plan.steps[0].text


def test_another_definition_is_only_reported_when_asked():
    plan = unit(guest(hostname="new", on_change="report"), {"web": running(guest())})
    assert not plan.steps
    assert plan.notes == ("guest web runs with another definition than it has now",)


def test_another_deployment_restarts():
    seen = replace(running(guest()), current=current(NEW))
    assert action(unit(guest(), {"web": seen})) == ("", "restart")


def test_a_guest_that_was_started_by_hand_without_a_definition_restarts():
    assert action(unit(guest(), {"web": running(guest(), definition=None)})) == ("", "restart")


def test_autostart_off():
    wanted = guest(autostart=False)
    assert action(unit(wanted, {"web": running(wanted)})) == ("disable", "")


def test_stopped():
    wanted = guest(state="stopped")
    assert action(unit(wanted, {"web": running(wanted)})) == ("", "stop")
    seen = GuestSeen(unit=replace(UNIT, active_state="inactive"))
    assert unit(wanted, {"web": seen}) == Plan()


@pytest.mark.parametrize("state", ["starting", "initializing", "stopping", ""])
def test_a_guest_that_is_not_up_yet_is_awaited(state: str):
    seen = replace(running(guest()), machine=Machine(system_state=state))
    assert action(unit(guest(), {"web": seen})) == ("", "await")


DEGRADED = Machine(system_state="degraded", failed_units=("nginx.service",))


def test_a_degraded_guest_is_refused():
    plan = unit(guest(), {"web": replace(running(guest()), machine=DEGRADED)})
    assert plan.refusals == (
        "guest web is degraded: nginx.service failed; mend it in the guest, or set `on_degraded` to 'report'",
    )


def test_a_degraded_guest_is_only_reported_when_asked():
    wanted = guest(on_degraded="report")
    plan = unit(wanted, {"web": replace(running(wanted), machine=DEGRADED)})
    assert plan == Plan(notes=("guest web is degraded: nginx.service failed",))


def test_a_degraded_guest_that_is_outdated_is_restarted():
    plan = unit(guest(hostname="new"), {"web": replace(running(guest()), machine=DEGRADED)})
    assert action(plan) == ("", "restart")
    assert plan.notes == ("guest web is degraded: nginx.service failed",)


def test_guests_that_could_not_be_read():
    assert unit(guest(), Unreadable("no")).refusals
