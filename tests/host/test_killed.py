"""The program is killed before any of its commands: the next run makes all whole, going on or back."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.host.conftest import GENERATIONS
from tests.host.machine import WORK, Machine, lines
from tests.host.test_sysroots import made
from tests.host.test_verbs import (
    DROPIN,
    HEALTHY,
    HOST_STATUS,
    MANAGED,
    NEW,
    SECRET,
    TRIAL_LEFT,
    define,
    guest_says,
    is_given_up,
    is_moved,
    keep,
    prepare,
    running,
    trial,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: Renames are what makes a change visible.
RENAMES = ("mv",)
#: All that a verb changes anything with. Between two of them nothing changes but by redirections.
COMMANDS = (
    *("base64", "cat", "chmod", "chown", "cp", "find", "ln", "mkdir", "mount", "mv", "ostree", "rm", "rmdir"),
    *("sync", "systemctl", "systemd-run"),
)


@dataclass(frozen=True)
class Case:
    """A change that is killed.

    + before: makes what it changes
    + words: of the change
    + after: expects all to be whole
    + payload: what it reads
    """

    before: Callable[[Machine], None]
    words: tuple[str, ...]
    after: Callable[[Machine], None]
    payload: bytes = b""
    commands: tuple[str, ...] = field(default=COMMANDS)


def nothing(machine: Machine) -> None:
    """Leave the machine as it was installed."""


def steps(kind: str) -> tuple[str, ...]:
    return (
        *("--", "stateroot", "web", kind),
        *("--", "pull", "web", kind, "", "old"),
        *("--", "deploy", "web", kind, "old"),
        *("--", "current", "web", kind, "old"),
    )


def is_made(machine: Machine) -> None:
    """Expect one whole deployment with an identity of its own, and nothing left over."""
    machine.shell("""
    cd state/web && [ -d current/etc ] && ! [ -e current/etc/hostname ] && ! [ -s current/etc/machine-id ] &&
    [ -d current/../../var ]
    """)
    assert machine.shell("find state/web -maxdepth 1 -name '.*'") == ""
    root = machine.shell("readlink -f state/web/current").strip().partition("/ostree/deploy/")[0]
    deployments = f"find {root}/ostree/deploy/web/deploy -mindepth 1 -maxdepth 1 -type d | wc -l"
    assert machine.shell(deployments).strip() == "1"
    assert machine.shell(f"ostree admin --sysroot={root} status").count(" web ") == 1
    machine.shell(f"ostree --repo={root}/ostree/repo fsck --quiet")


def is_removed(machine: Machine) -> None:
    assert " web " not in machine.shell(HOST_STATUS)
    left = machine.shell("find state/web sysroot/ostree/deploy/web boot/ostree -name 'web*' 2>/dev/null || :")
    assert left == ""
    machine.shell(f"! [ -e {DROPIN} ] && ! [ -e state/web ]")


def is_defined(machine: Machine) -> None:
    assert machine.shell(f"cat {DROPIN} {SECRET}") == f"{MANAGED}new"
    assert machine.shell("find etc state -name '.*.new'") == ""


def a_guest(kind: str) -> Callable[[Machine], None]:
    def before(machine: Machine) -> None:
        made(machine, kind)
        define(machine, ("644", DROPIN, MANAGED), ("600", SECRET, "x"))
        keep(machine, kind)

    return before


def moved(kind: str) -> Callable[[Machine], None]:
    def after(machine: Machine) -> None:
        # What a definition removes that follows on each move.
        define(machine, ("600", SECRET, "y"))
        is_moved(machine, machine.facts("sysroots", "--", "guests"), kind)

    return after


def defined(machine: Machine) -> None:
    define(machine, ("644", DROPIN, MANAGED + "old\n"), ("600", SECRET, "old"))


DEFINITION = lines(("644", DROPIN, MANAGED), ("600", SECRET, "new"))
CASES = {
    "a private guest": Case(nothing, steps("private"), is_made),
    "a shared guest": Case(nothing, steps("shared"), is_made),
    "removal of a private guest": Case(a_guest("private"), ("--", "remove", "web", "purge"), is_removed),
    "removal of a shared guest": Case(a_guest("shared"), ("--", "remove", "web", "purge"), is_removed),
    "a move into the host's": Case(a_guest("private"), ("--", "move", "web", "shared"), moved("shared")),
    "a move out of the host's": Case(a_guest("shared"), ("--", "move", "web", "private"), moved("private")),
    "a definition": Case(
        defined, ("--", "definition", "web", "reload", str(len(DEFINITION))), is_defined, DEFINITION
    ),
    "a host that is given up": Case(prepare, ("--", "decommission", "-"), is_given_up),
}


def cut_off(machine: Machine, commands: tuple[str, ...], nth: int) -> str:
    """Put in place what kills the program; return the directory that stands before all others."""
    directory = machine.work / "cut"
    directory.mkdir(exist_ok=True)
    for command in commands:
        shutil.copy(Path(__file__).with_name("cut-off"), directory / command)
    (machine.work / "cut-off").write_text(f"0 {nth}\n")
    (machine.work / "cut-off-at").unlink(missing_ok=True)
    return f"{WORK}/cut"


def killed(machine: Machine, case: Case, commands: tuple[str, ...], nth: int) -> bool:
    """Run a change that is killed before its Nth command; tell whether it came so far."""
    first = cut_off(machine, commands, nth)
    answer = machine.run("change", "guest:web", *case.words, payload=case.payload, first=(first,))
    was_killed = (machine.work / "cut-off-at").exists()
    # A process may outlive the program; the answer is complete when that one is killed.
    assert was_killed or answer.code == 0, (answer, nth)
    assert answer.code != 0 or answer.stdout.endswith(b":: done\n"), (answer, nth)
    return was_killed


def is_whole_after(machine: Machine, case: Case, nth: int) -> None:
    at = (machine.work / "cut-off-at").read_text()
    answer = machine.run("change", "guest:web", "sysroot", *case.words, payload=case.payload)
    assert answer.code == 0, (nth, at, answer)
    case.after(machine)


# The other generations are what `make test` adds to `make test-fast`.
MOST = pytest.mark.parametrize(
    "tools",
    ["bookworm", *(pytest.param(name, marks=pytest.mark.slow) for name in GENERATIONS)],
    indirect=True,
)


@MOST
@pytest.mark.parametrize("name", CASES)
def test_killed_before_any_rename_it_is_finished_by_the_next_run(again: Callable[..., Machine], name: str):
    each(again, CASES[name], RENAMES)


# Of one generation: where a step can be killed does not depend on the version of ostree.
ONE = pytest.mark.parametrize("tools", ["bookworm"], indirect=True)


@pytest.mark.slow
@ONE
@pytest.mark.parametrize("name", CASES)
def test_killed_before_any_command_it_is_finished_by_the_next_run(again: Callable[..., Machine], name: str):
    each(again, CASES[name], COMMANDS)


def each(again: Callable[..., Machine], case: Case, commands: tuple[str, ...]) -> None:
    for nth in itertools.count(1):
        machine = again(case.before)
        if not killed(machine, case, commands, nth):
            assert nth > 1 or "mv" in commands
            return
        is_whole_after(machine, case, nth)


@MOST
@pytest.mark.parametrize("kind", ["private", "shared"])
def test_a_move_that_is_killed_goes_back(again: Callable[..., Machine], kind: str):
    """The next run wants the guest where it was."""
    other = "shared" if kind == "private" else "private"
    case = Case(a_guest(kind), ("--", "move", "web", other), moved(kind))
    for nth in itertools.count(1):
        machine = again(case.before)
        if not killed(machine, case, RENAMES, nth):
            return
        # As its plan would: what is there of it in the other sysroot comes back.
        answer = machine.run("change", "guest:web", "sysroot", "--", "move", "web", kind)
        assert answer.code == 0, answer
        case.after(machine)


# How a trial's own commands are killed, in the unit that it runs in.
TRIAL_COMMANDS = (*RENAMES, "systemctl")


def runs_healthy(machine: Machine) -> None:
    guest_says(machine, "web", HEALTHY)
    running(machine)


@pytest.mark.slow
@ONE
def test_a_trial_that_is_killed_is_finished_or_undone(again: Callable[..., Machine]):
    for nth in itertools.count(1):
        machine = again(runs_healthy)
        # systemd-run's stand-in begins a session of its own: only the trial is killed.
        first = cut_off(machine, TRIAL_COMMANDS, nth)
        (machine.work / "bin/systemd-run").write_text(
            (machine.work / "bin/systemd-run").read_text().replace("setsid", f"PATH={first}:$PATH setsid")
        )
        answer = trial(machine, *NEW)
        if not (machine.work / "cut-off-at").exists():
            assert answer.code == 0
            return
        kept = answer.code == 0
        machine.change("guest:web", "--", "recover", "web")
        assert machine.shell(TRIAL_LEFT) == "", nth
        secret = machine.shell(f"cat {SECRET}")
        assert secret in ("old", "new")
        assert not kept or secret == "new"
        assert (secret == "new") == (machine.shell(f"cat {DROPIN}") == f"{MANAGED}new\n")
        assert machine.shell("cat systemd/active-systemd-nspawn@web.service") == "active\n"
