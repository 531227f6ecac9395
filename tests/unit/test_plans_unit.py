"""When a guest is started, restarted, awaited, stopped, and when it is left alone."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import GuestSeen, Machine
from pyinfra_nspawn.plans import guest as stages
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.specs import Guest
from tests.unit.seen import (
    NEVER,
    NEW,
    OLD,
    STOPPED,
    converged,
    current,
    error,
    finding,
    guest,
    own,
    plan,
    running,
    step,
    stopped,
    verbs,
)


def machine(**fields: object) -> Machine:
    return replace(running(guest()).machine, **fields)


def seen_as(seen: GuestSeen, wanted: Guest | None = None, **sysroots: object) -> Plan:
    return plan(wanted or guest(), seen=seen, **{"private": own(OLD), **sysroots})


def alone(wanted: Guest, seen: GuestSeen | None = None) -> Plan:
    return plan(wanted, stages.unit, seen=seen)


def test_a_new_guest_is_enabled_started_and_awaited():
    found = alone(guest(start_timeout_seconds=30, on_degraded="report"), GuestSeen(unit=NEVER))
    assert [(item.verb, item.arguments) for item in found.steps] == [
        ("unit", ("enable", "start")),
        ("await", ("30", "report", "")),
    ]
    assert found.steps[0].text == "enable systemd-nspawn@web.service; start guest web"
    assert found.steps[1].text == "wait up to 30 s until guest web is running"
    autostart, state = finding(found, "differs", "autostart"), finding(found, "differs", "state")
    assert (autostart.guest, autostart.wanted, autostart.seen) == ("web", "enabled", "disabled")
    assert (state.guest, state.wanted, state.seen) == ("web", "running", "inactive")
    assert autostart.problem == "its unit is not enabled"
    assert state.problem == "it is not running"


def test_a_running_guest_is_left_alone():
    assert converged(guest()) == Plan("web")


def test_a_stopped_guest_is_started():
    found = seen_as(stopped(guest()))
    assert step(found, "unit").arguments == ("", "start")
    assert verbs(found) == ["unit", "await"]


def test_a_guest_that_could_not_start_is_started_again():
    unit = replace(STOPPED, active_state="failed", sub_state="failed")
    found = seen_as(replace(stopped(guest()), unit=unit))
    assert step(found, "unit").arguments == ("", "start")
    assert finding(found, "differs", "state").seen == "failed"


def test_autostart_off():
    wanted = guest(autostart=False)
    found = seen_as(running(wanted), wanted)
    assert step(found, "unit").arguments == ("disable", "")
    differs = finding(found, "differs")
    assert (differs.guest, differs.field) == ("web", "autostart")
    assert (differs.wanted, differs.seen) == ("disabled", "enabled")


def test_enabling_a_running_guest_does_not_keep_its_health_from_being_looked_at():
    seen = running(guest(), unit_file_state="disabled")
    found = seen_as(replace(seen, machine=machine(system_state="starting")))
    assert verbs(found) == ["unit", "await"]


def test_stopped():
    wanted = guest(state="stopped")
    found = seen_as(running(wanted), wanted)
    assert step(found, "unit").arguments == ("", "stop")
    differs = finding(found, "differs")
    assert (differs.guest, differs.field) == ("web", "state")
    assert (differs.wanted, differs.seen) == ("stopped", "active")
    assert not seen_as(stopped(wanted), wanted).findings


def test_a_guest_in_a_loop_of_restarts_is_stopped_too():
    wanted = guest(state="stopped")
    seen = running(wanted, active_state="activating", sub_state="auto-restart", main_pid=0)
    assert step(seen_as(replace(seen, machine=None), wanted), "unit").arguments == ("", "stop")


def test_a_guest_in_a_loop_of_restarts_is_awaited():
    """It starts by itself, with the definition that it has by then."""
    unit = {"active_state": "activating", "sub_state": "auto-restart", "main_pid": 0, "definition": None}
    seen = replace(running(guest(), **unit), machine=None)
    assert verbs(seen_as(seen)) == ["await"]
    assert verbs(seen_as(seen, guest(hostname="new"))) == ["definition", "await"]


# A running guest that is not what it would be after a restart.


def test_another_deployment_restarts():
    found = seen_as(replace(running(guest()), current=current(NEW)), private=own(NEW, OLD))
    assert verbs(found) == ["restart"]
    assert step(found, "restart").arguments == ("120", "fail", define(guest()).digest, "")
    outdated = finding(found, "outdated")
    assert (outdated.guest, outdated.field) == ("web", "deployment")
    assert (outdated.wanted, outdated.seen) == (f"{NEW}.0", f"{OLD}.0")
    assert outdated.problem == f"it runs deployment {OLD[:12]} until it restarts"


def test_another_deployment_is_only_reported_when_asked():
    wanted = guest(on_change="report")
    found = seen_as(replace(running(wanted), current=current(NEW)), wanted, private=own(NEW, OLD))
    assert not found.steps
    outdated = finding(found, "outdated")
    assert (outdated.severity, outdated.field) == ("note", "deployment")
    assert outdated.hint == "Restart it, or set `on_change` to 'restart'."


def test_a_deployment_that_this_run_is_about_to_choose_restarts_in_the_same_plan():
    """The plan is honest: all steps of a guest are planned before the first is done."""
    seen = replace(running(guest()), current=current("d" * 64))
    lost = replace(seen, machine=machine(deployment=f"{'d' * 64}.0"))
    assert verbs(seen_as(lost)) == ["current", "restart"]
    assert verbs(seen_as(seen)) == ["current"]  # it runs just what it will boot


def test_of_a_deployment_that_cannot_be_seen_nothing_is_said():
    assert not converged(guest(), machine=machine(deployment=None)).findings


def test_one_trial_restarts_a_guest_for_both():
    seen = replace(running(guest()), current=current(NEW))
    found = seen_as(seen, guest(hostname="new"), private=own(NEW, OLD))
    assert verbs(found) == ["try"]


def test_a_trial_and_the_enablement():
    found = seen_as(running(guest(), unit_file_state="disabled"), guest(hostname="new"))
    assert verbs(found) == ["try", "unit"]
    assert step(found, "unit").arguments == ("enable", "")


def test_a_guest_that_was_started_by_hand_without_a_definition_is_tried():
    assert verbs(seen_as(running(guest(), definition=None))) == ["try"]


def test_one_without_files_of_ours_is_defined_and_restarted():
    found = seen_as(replace(running(guest(), definition=None), files={}))
    assert verbs(found) == ["definition", "restart"]
    assert len([item for item in found.findings if item.kind == "outdated"]) == 1


def test_the_unit_alone_does_not_restart_a_guest_without_its_definition_being_written():
    found = alone(guest(hostname="new"), running(guest()))
    assert not found.steps
    outdated = finding(found, "outdated")
    assert (outdated.guest, outdated.field, outdated.severity) == ("web", "definition", "note")
    assert outdated.hint == "Write its definition too: that restarts it."


def test_the_unit_alone_restarts_a_guest_whose_definition_is_written():
    wanted = guest(hostname="new")
    assert verbs(alone(wanted, running(wanted, definition="0" * 32))) == ["restart"]


# Health.


@pytest.mark.parametrize(
    ("seen", "verb"),
    [
        (GuestSeen(unit=NEVER), "await"),
        (replace(running(guest()), current=current(NEW)), "restart"),
        (running(guest(), definition="0" * 32), "try"),
    ],
)
def test_whoever_waits_for_a_guest_looks_for_its_files(seen: GuestSeen, verb: str):
    """Case 10: systemd-tmpfiles counts a file that it could not write as success."""
    files = {"/etc/motd": "x", "/root/a": {"content": "", "mode": "0600", "user": "core", "group": "wheel"}}
    wanted = guest(files=files, on_change="restart")
    if verb == "restart":
        seen = replace(running(wanted), current=current(NEW))
    text = step(seen_as(seen, wanted, private=own(NEW, OLD)), verb).arguments[-1]
    assert base64.b64decode(text).decode() == "644 root root /etc/motd\n600 core wheel /root/a\n"


@pytest.mark.parametrize("state", ["starting", "initializing", "stopping", "maintenance", ""])
def test_a_guest_that_is_not_up_yet_is_awaited(state: str):
    found = converged(guest(), machine=machine(system_state=state))
    assert verbs(found) == ["await"]
    differs = finding(found, "differs")
    assert (differs.guest, differs.field) == ("web", "system_state")
    assert (differs.wanted, differs.seen, differs.severity) == ("running", state, "change")


def test_one_without_a_machine_yet_is_awaited():
    assert verbs(converged(guest(), machine=None)) == ["await"]


DEGRADED = machine(system_state="degraded", failed_units=("nginx.service", "b.service"))


def test_a_degraded_guest_fails_the_run():
    found = error(converged(guest(), machine=DEGRADED), "degraded")
    assert (found.guest, found.field, found.seen) == ("web", "failed_units", "nginx.service, b.service")
    assert found.problem == "nginx.service, b.service failed"
    assert found.hint == 'Run "pyinfra-nspawn logs HOST:web -u nginx.service", and fix it in the guest.'


def test_a_degraded_guest_is_only_reported_when_asked():
    wanted = guest(on_degraded="report")
    found = seen_as(replace(running(wanted), machine=DEGRADED), wanted)
    assert not found.steps
    assert finding(found, "degraded").severity == "note"


def test_a_degraded_guest_that_is_outdated_is_restarted():
    assert verbs(seen_as(replace(running(guest()), machine=DEGRADED), guest(hostname="new"))) == ["try"]


def test_the_health_of_a_guest_that_is_about_to_restart_is_of_no_interest():
    seen = replace(running(guest()), machine=machine(system_state="starting"))
    assert verbs(seen_as(seen, guest(hostname="new"))) == ["try"]


def test_a_degraded_guest_that_is_wanted_stopped_is_stopped():
    wanted = guest(state="stopped")
    assert verbs(seen_as(replace(running(wanted), machine=DEGRADED), wanted)) == ["unit"]


def test_a_guest_whose_units_keep_restarting_is_awaited():
    """It says `running` between two restarts of a unit that crashes."""
    found = converged(guest(), machine=machine(restarting_units=("ssh.service",)))
    assert verbs(found) == ["await"]
    restarting = finding(found, "restarting")
    assert (restarting.guest, restarting.field) == ("web", "restarting_units")
    assert (restarting.seen, restarting.severity) == ("ssh.service", "change")
    assert restarting.problem == "ssh.service keeps restarting"
    assert restarting.hint.startswith('Run "pyinfra-nspawn logs HOST:web -u ssh.service"')


def test_several_that_keep_restarting():
    found = converged(guest(), machine=machine(restarting_units=("a.service", "b.service")))
    assert finding(found, "restarting").problem == "a.service, b.service keep restarting"


def test_a_guest_that_is_degraded_and_restarting_is_not_awaited_in_vain():
    found = converged(guest(), machine=replace(DEGRADED, restarting_units=("ssh.service",)))
    assert {item.kind for item in found.findings} == {"degraded", "restarting"}
    assert found.errors


@pytest.mark.parametrize(
    ("state", "errors", "steps"),
    [("degraded", ["it says that it is degraded"], []), ("running", [], []), ("", [], ["await"])],
)
def test_of_a_guest_that_cannot_be_asked_no_unit_is_named(state: str, errors: list[str], steps: list[str]):
    """Case 19: a failing `list-units` was once reported as "Failed failed"."""
    found = converged(guest(), machine=machine(system_state=state, complaint="Connection timed out"))
    unreadable = finding(found, "unreadable")
    assert (unreadable.guest, unreadable.field, unreadable.seen) == ("web", "machine", state)
    assert unreadable.severity == "note"
    assert [item.problem for item in found.errors] == errors
    assert unreadable.problem == "its systemd could not be asked: Connection timed out"
    assert unreadable.hint == 'Run "systemctl -M web list-units --failed" on the host.'
    assert verbs(found) == steps


def test_a_file_that_was_not_written_is_looked_for_again():
    wanted = guest(files={"/etc/x": "y"})
    found = alone(wanted, replace(running(wanted), unwritten=True))
    missing = finding(found, "missing", "files")
    assert (missing.guest, missing.wanted, missing.severity) == ("web", "/etc/x", "change")
    assert verbs(found) == ["await"]
