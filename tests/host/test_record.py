"""What the program records of its steps, and that no answer depends on whether it can."""

from __future__ import annotations

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.history import History, parse_history
from pyinfra_nspawn.facts.program import command_line
from tests.host.machine import ASKS, WORK, Machine, lines
from tests.host.test_sysroots import made
from tests.host.test_verbs import (
    DROPIN,
    HEALTHY,
    MANAGED,
    NEVER,
    NEW,
    SECRET,
    UNIT,
    define,
    guest_says,
    trial,
)
from tests.host.test_verbs import running as defined_and_running

MADE = ["stateroot", "pull", "deploy", "current"]


def results(machine: Machine) -> list[str]:
    return [
        f"{entry['PYINFRA_NSPAWN_VERB']} {entry['PYINFRA_NSPAWN_GUEST']} {entry['PYINFRA_NSPAWN_RESULT']}"
        for entry in machine.recorded()
    ]


def test_a_step_that_changes_something_is_recorded_and_no_other(machine: Machine):
    made(machine, "private")
    assert results(machine) == [f"{verb} web changed" for verb in MADE]
    made(machine, "private")
    machine.facts("host", "--", "guests")
    assert results(machine) == []


def test_an_entry_says_who_and_with_which_version(machine: Machine):
    define(machine, ("600", SECRET, "hunter2"))
    (entry,) = machine.recorded()
    assert entry == {
        "MESSAGE": "definition web: changed, by ada@controller as -, version 1.2.3",
        "SYSLOG_IDENTIFIER": "pyinfra-nspawn",
        "PRIORITY": "5",
        "PYINFRA_NSPAWN_VERB": "definition",
        "PYINFRA_NSPAWN_GUEST": "web",
        "PYINFRA_NSPAWN_RESULT": "changed",
        "PYINFRA_NSPAWN_BY": "ada@controller",
        "PYINFRA_NSPAWN_LOGIN": "-",
        "PYINFRA_NSPAWN_VERSION": "1.2.3",
    }


LOGINS = {
    "SUDO_USER=ada LOGNAME=root": "ada",
    "DOAS_USER=ada USER=root": "ada",
    "LOGNAME=ada USER=root": "ada",
    "USER=ada": "ada",
    "SUDO_USER='a\\b $(id)\nMESSAGE=x'": "a?b???id??MESSAGE?x",
    f"SUDO_USER={'x' * 100}": "x" * 64,
}


@pytest.mark.parametrize("environment", LOGINS)
def test_the_login_is_one_plain_word(machine: Machine, environment: str):
    line = command_line("change", "--", "stateroot", "web", "private", options=(*ASKS, "--roots", WORK))
    assignments = environment.replace("\n", "'\n'") if "'" not in environment else environment
    machine.shell(f'PATH={WORK}/bin:$PATH; export {assignments}; sh -c "$1"', line)
    (entry,) = machine.recorded()
    assert entry["PYINFRA_NSPAWN_LOGIN"] == LOGINS[environment]


def test_a_step_that_fails_is_recorded_without_its_problem(machine: Machine):
    assert machine.run("change", "guest:web", "--", "deploy", "web", "private", "no-such-ref").code == 1
    (entry,) = machine.recorded()
    assert (entry["PYINFRA_NSPAWN_VERB"], entry["PYINFRA_NSPAWN_RESULT"]) == ("deploy", "failed")
    assert "no-such-ref" not in str(entry)
    guest_says(machine, "web", NEVER)
    machine.run("await", "web", "1", "fail", "")
    assert results(machine) == ["await web failed"]


@pytest.mark.parametrize("healthy", [True, False])
def test_what_a_trial_came_to_is_recorded_once_by_the_trial(machine: Machine, healthy: bool):
    bad = f"if [ -e /tmp/work/run/systemd/system/{UNIT}.d/55-trial.conf ]; then {NEVER}\nelse {HEALTHY}\nfi"
    guest_says(machine, "web", HEALTHY if healthy else bad)
    defined_and_running(machine)
    machine.recorded()
    trial(machine, *NEW)
    (entry,) = machine.recorded()
    remark = "changed (kept its changed" if healthy else "failed (went back to the old"
    assert entry["MESSAGE"] == f"try web: {remark} definition), by ada@controller as -, version 1.2.3"


# The real one, which finds no journal in a chroot; one that says much; one that reads nothing.
LOGGERS = {
    "real": None,
    "loud": "#!/bin/sh\ncat; cat >&2; echo no journal; echo no journal >&2; exit 1\n",
    "deaf": "#!/bin/sh\nexit 1\n",
}


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_host_without_a_journal_answers_the_same(machine: Machine, again, logger: str):
    if logger == "real" and (machine.tools / "run/systemd/journal").exists():
        pytest.skip("these tools would write into this machine's own journal")

    def answers(machine: Machine) -> list[object]:
        payload = lines(("644", DROPIN, MANAGED))
        define = ("definition", "web", "", str(len(payload)))
        good = machine.change(
            "guest:web", "--", "stateroot", "web", "private", "--", *define, payload=payload
        )
        bad = [
            machine.run("change", "guest:web", "--", "deploy", "web", "private", commit)
            for commit in ("no-such-ref", "0" * 64)  # one is refused by the program, the other by ostree
        ]
        return [(answer.code, answer.stdout, answer.stderr) for answer in (good, *bad)]

    expected = answers(machine)
    other = again()
    text = LOGGERS[logger]
    if text is None:
        (other.work / "bin/logger").unlink()
    else:
        (other.work / "bin/logger").write_text(text)
    assert answers(other) == expected


def test_a_host_without_a_logger_answers_the_same(machine: Machine):
    line = command_line("change", "--", "stateroot", "web", "private", options=(*ASKS, "--roots", WORK))
    said = machine.shell(
        "mkdir only; ln -s /usr/bin/* /usr/sbin/* only 2>/dev/null; rm only/logger bin/logger;"
        f'PATH={WORK}/bin:{WORK}/only; ! command -v logger || exit; sh -c "$1" 2>&1',
        line,
    )
    assert said == ":: step stateroot web\n|changed\n:: done\n"


def test_a_host_of_which_nothing_is_known(machine: Machine):
    (machine.work / "bin/journalctl").unlink()
    assert parse_history(machine.facts("history", "5").parts) == Unreadable("this host keeps no journal")


def test_without_root_the_reason_is_given(machine: Machine):
    drop = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    said = machine.shell(f"chmod 755 .; {drop} sh -c '{command_line('facts', 'history', '5')}'")
    assert "root" in History().process(said.split("\n")).reason
