"""The summary at the end of a run: its rows as data, and the table as text."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from pyinfra.api import Config, Inventory, State

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen, Machine
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.reports.summary import Row, Summary, summary_of
from tests.unit.seen import (
    NEVER,
    OLD,
    STOPPED,
    current,
    deployment,
    guest,
    host_sysroot,
    own,
    running,
    snapshot,
    stopped,
)

BEHIND = Finding("behind", "it boots aaaa, and fedora:iot is bbbb now", "Upgrade.", "web", severity="note")
REFUSAL = Finding("foreign", "/etc/x is not ours", "Move it away.", "web", severity="error")
NAMES = ("lab1", "lab2", "lab3")


def summary(*connected: str, limit: tuple[str, ...] | None = None) -> Summary:
    """Return the summary of a run upon three hosts, of which these could be connected to."""
    state = State()
    inventory = Inventory((list(NAMES), {}))
    only = [inventory.get_host(name) for name in limit] if limit is not None else None
    state.init(inventory, Config(), initial_limit=only)
    for name in connected or NAMES:
        state.activate_host(inventory.get_host(name))
    return Summary(state)


def row(found: Summary, guest: str = "web", host: str = "lab1") -> Row:
    (only,) = (row for row in found.rows if (row.host, row.guest) == (host, guest))
    return only


def shown(seen: object = None, private: object = None, **facts: object) -> Row:
    """Return the row of a guest for which nothing was done."""
    found = summary()
    found.add("lab1", Plan("web"), snapshot(seen, private, **facts), (), ())
    return row(found)


def printed(*rows: Row, width: int | None = None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the table; `width` is that of a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return width is not None

    found, file = summary(), Terminal()
    monkeypatch.setattr(Summary, "rows", list(rows))
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width or 20))
    found.show(file)
    return file.getvalue()


# What a guest is


def test_a_guest_that_runs():
    assert shown(running(guest()), own(OLD)) == Row("lab1", "web", "running", OLD[:12], "", "nothing to do")


def test_a_deployment_with_a_version():
    sysroot = replace(own(), deployments=(deployment(OLD, version="41.1"),))
    found = shown(running(guest()), sysroot)
    assert (found.commit, found.version) == (OLD[:12], "41.1")


def test_a_guest_in_the_hosts_own_sysroot():
    host = host_sysroot(deployments=(deployment(OLD, "fedora"), deployment(OLD, version="41.1")))
    assert shown(running(guest()), host=host).version == "41.1"


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (None, "unknown"),
        (Unreadable("I/O error"), "unknown"),
        (GuestSeen(unit=NEVER), "absent"),
        (stopped(guest()), "stopped"),
        (replace(stopped(guest()), unit=replace(STOPPED, active_state="failed")), "failed"),
        (replace(running(guest()), machine=None), "starting"),
        (replace(running(guest()), machine=Machine(system_state="")), "starting"),
        (replace(running(guest()), machine=Machine(system_state="degraded")), "degraded"),
    ],
)
def test_the_state_of_a_guest(seen, state):
    assert shown(seen, own(OLD)).state == state


def test_what_could_not_be_read_is_unknown():
    nothing = Unreadable("the host gave no answer")
    found = shown(guests=nothing, sysroots=nothing, host_facts=nothing)
    assert (found.state, found.commit, found.version) == ("unknown", "", "")


def test_a_deployment_that_is_not_there_is_not_named():
    seen = replace(stopped(guest()), current=current("d" * 64))
    assert shown(seen, own(OLD)).commit == ""


def test_a_host_is_shown_with_what_it_is_booted_from():
    found = summary()
    found.add("lab1", Plan(), snapshot(), (), ())
    assert row(found, "") == Row("lab1", "", "", OLD[:12], "", "nothing to do")


# What a run did


def test_what_is_due_in_a_dry_run():
    found = summary()
    plan = Plan("web", steps=tuple(Step("", verb, "web") for verb in ("definition", "unit", "await")))
    found.add("lab1", plan, snapshot(), (), (), operation="each guest")
    assert row(found).result == "due: definition, unit, await"
    assert not row(found).failed


def test_what_was_done_replaces_what_was_due():
    found = summary()
    before, after = snapshot(), snapshot(running(guest()), own(OLD))
    found.add("lab1", Plan("web", steps=(Step("", "unit", "web"),)), before, (), (), operation="one")
    found.add("lab1", Plan("web"), after, ["unit", "unit"], (), operation="one")
    assert (row(found).state, row(found).result) == ("running", "done: unit")


def test_nothing_that_was_due_is_left_when_somebody_else_has_done_it():
    found = summary()
    found.add("lab1", Plan(steps=(Step("", "sysctl"),)), snapshot(), (), (), operation="one")
    found.add("lab1", Plan(), snapshot(), (), (), operation="one")
    assert row(found, "").result == "nothing to do"


def test_the_latest_record_says_how_a_guest_is():
    found = summary()
    for operation in ("one", "two"):
        found.add("lab1", Plan("web"), snapshot(stopped(guest()), own(OLD)), (), (), operation=operation)
    found.add("lab1", Plan("web"), snapshot(running(guest()), own(OLD)), ["unit"], (), operation="one")
    assert row(found).state == "running"


def test_a_retry_that_succeeds_makes_good_what_failed():
    found = summary()
    found.add("lab1", Plan("web"), snapshot(), (), [REFUSAL], operation="one")
    assert row(found).failed
    found.add("lab1", Plan("web"), snapshot(), ["unit"], (), operation="one")
    assert not row(found).failed
    assert row(found).result == "done: unit"


def test_what_all_operations_of_a_run_did_is_one_row():
    found = summary()
    found.add("lab1", Plan("web"), snapshot(), ["definition"], (), operation="one")
    found.add("lab1", Plan("web", (BEHIND,)), snapshot(), ["unit"], (), operation="two")
    found.add("lab1", Plan("web", (BEHIND,)), snapshot(), (), (), operation="three")
    assert row(found).result == f"done: definition, unit; {BEHIND.problem}"


def test_a_later_operation_with_nothing_to_do_does_not_hide_a_failure():
    found = summary()
    found.add("lab1", Plan("web"), snapshot(), (), [REFUSAL], operation="one")
    found.add("lab1", Plan("web"), snapshot(), (), (), operation="two")
    assert row(found).failed
    assert row(found).result == "/etc/x is not ours. Move it away."


def test_all_errors_are_named_each_once():
    found = summary()
    other = Finding("failed", "it did not start", guest="web", severity="error")
    for operation in ("one", "two"):
        found.add("lab1", Plan("web"), snapshot(), ["unit"], [REFUSAL, other], operation=operation)
    assert row(found).result == "/etc/x is not ours. Move it away. it did not start."


def test_a_guest_that_is_behind():
    found = summary()
    found.add("lab1", Plan("web", (BEHIND,)), snapshot(running(guest()), own(OLD)), (), ())
    assert row(found).result == f"nothing to do; {BEHIND.problem}"
    assert not row(found).failed


# Which hosts


def test_hosts_that_could_not_be_connected_to():
    found = summary("lab1", "lab3")
    found.add("lab1", Plan(), snapshot(), (), ())
    assert [(row.host, row.result, row.failed) for row in found.rows] == [
        ("lab1", "nothing to do", False),
        ("lab2", "unreachable", True),
    ]


@pytest.mark.parametrize(("limit", "hosts"), [(("lab2",), ["lab2"]), ((), [])])
def test_hosts_outside_the_limit_have_no_row(limit, hosts):
    assert [row.host for row in summary("lab1", limit=limit).rows] == hosts


def test_a_host_whose_connection_was_closed_at_the_end_was_reachable():
    found = summary()
    for host in found._state.inventory:
        host.connected = False  # pyinfra disconnects from all before the summary is shown
    assert found.rows == []


def test_rows_are_sorted_and_the_host_comes_before_its_guests():
    found = summary()
    for host, name in [("lab2", "a"), ("lab1", "z"), ("lab1", "b"), ("lab1", "")]:
        found.add(host, Plan(name), snapshot(), (), ())
    assert [(row.host, row.guest) for row in found.rows] == [
        *(("lab1", ""), ("lab1", "b"), ("lab1", "z")),
        ("lab2", "a"),
    ]


def test_a_run_has_one_summary_that_is_shown_when_the_process_ends(monkeypatch):
    registered = []
    monkeypatch.setattr("atexit.register", lambda *call: registered.append(call))
    state = State()
    assert summary_of(state) is summary_of(state)
    assert summary_of(State()) is not summary_of(state)
    assert len(registered) == 2


def test_what_another_operation_has_said_is_no_news():
    found = summary()
    assert found.is_news("lab1", BEHIND, "plan", "one")
    assert found.is_news("lab1", BEHIND, "plan", "one")
    assert not found.is_news("lab1", BEHIND, "plan", "two")
    assert found.is_news("lab1", BEHIND, "run", "two")
    assert found.is_news("lab2", BEHIND, "plan", "two")


# The table

LONG = Row("lab1.example.org", "web", "running", "a" * 12, "41.20250101.0", "done: " + "definition, " * 30)
FAILED = replace(LONG, guest="db", state="failed", result="it did not start. Look.", failed=True)
HOSTILE = Row(
    "lab1",
    "web",
    "run\x1b[2Jning",
    "a" * 12,
    "41 [bold]x[/bold] [/] :smile:",
    "it says 'a\nb\r\x1b]0;owned\x07\u202e\x9b31m'",
    failed=True,
)


def test_without_a_terminal_a_row_is_a_line_however_long(monkeypatch):
    lines = printed(LONG, FAILED, monkeypatch=monkeypatch).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["host", "guest", "state", "commit", "version", "result"]
    assert lines[1].endswith(LONG.result.strip())
    words = ("result", "done", "it did")
    assert len({line.index(word) for line, word in zip(lines, words, strict=True)}) == 1
    assert [line for line in lines if line != line.rstrip()] == []
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", [None, 200, 60])
def test_a_guest_puts_no_control_sequence_and_no_markup_into_the_table(monkeypatch, width):
    text = printed(HOSTILE, width=width, monkeypatch=monkeypatch)
    bare = text.replace("\x1b[1m", "").replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert not [character for character in bare if not character.isprintable() and character != "\n"]
    assert ("41 [bold]x[/bold] [" if width == 60 else "41 [bold]x[/bold] [/] :smile:") in bare
    assert "it says 'a b ?]0;owned???31m'" in bare
    if width is None:
        assert bare == text
        assert len(text.splitlines()) == 2


def test_a_wide_terminal_shows_a_table_whose_result_is_wrapped(monkeypatch):
    lines = printed(LONG, FAILED, width=120, monkeypatch=monkeypatch).splitlines()
    assert max(len(line.rstrip()) for line in lines if "\x1b" not in line) <= 120
    assert any("result" in line for line in lines[:1])
    assert sum("lab1.example.org" in line for line in lines) == 2
    assert any("\x1b[31m" in line and "it did not start" in line for line in lines)


def test_a_narrow_terminal_shows_the_result_below_its_row(monkeypatch):
    text = printed(LONG, FAILED, width=60, monkeypatch=monkeypatch)
    lines = [line.rstrip() for line in text.replace("\x1b[31m", "").replace("\x1b[0m", "").splitlines()]
    assert max(map(len, lines)) <= 60
    assert lines[0].split()[:3] == ["lab1.example.org", "web", "running"]
    assert lines[-2].split()[:3] == ["lab1.example.org", "db", "failed"]
    assert lines[-1] == "    it did not start. Look."
    assert " ".join(line.strip() for line in lines[1:-2]) == LONG.result.strip()  # no word is broken


def test_an_empty_summary_is_a_header(monkeypatch):
    assert len(printed(monkeypatch=monkeypatch).splitlines()) == 1
