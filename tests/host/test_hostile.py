"""What is said of one guest: any bytes come through, and whatever a guest does reaches no other."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_nspawn.facts.base import Unreadable, decoded_name
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.facts.program import command_line
from tests.host.machine import WORK, Answer, Machine

DROPINS = "etc/systemd/system/systemd-nspawn@web.service.d"
# What a file's name may hold; systemd reads those that end in .conf.
NAMES = st.binary(min_size=1, max_size=40).map(
    lambda name: name.replace(b"/", b"_").replace(b"\0", b"_").lstrip(b".") + b"x.conf"
)
UNIT = """\
Id=systemd-nspawn@{name}.service
LoadState=loaded
UnitFileState=enabled
ActiveState=active
SubState=running
Result=success
NeedDaemonReload=no
DropInPaths=
FragmentPath=/lib/systemd/system/systemd-nspawn@.service
MainPID={pid}
ExecMainStartTimestampMonotonic=1
NRestarts=0
ExecStart=
DeviceAllow=
"""


def content_of(answer: Answer) -> dict[str, bytes]:
    """Return the contents of the files by path."""
    return {decoded_name(part.words[4]): part.output for part in answer.parts if part.words[0] == "file"}


# What goes as it is, or nearly so: whole lines, some of which look like ours.
LINES = st.lists(st.sampled_from(["", " ", "a ", ":: done", "=0", ">x", "|", "+", "x" * 1999]), max_size=5)
PRINTABLE = st.builds(
    lambda lines, end: ("\n".join(lines) + end).encode(), LINES, st.sampled_from(["", "\n"])
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.one_of(st.binary(max_size=300), PRINTABLE), max_size=4))
def test_any_file_of_any_name_comes_through(machine: Machine, files: dict[bytes, bytes]):
    directory = machine.work / DROPINS
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name, content in files.items():
        (directory / os.fsdecode(name)).write_bytes(content)
    found = content_of(machine.facts("guests"))
    assert found == {f"{WORK}/{DROPINS}/{os.fsdecode(name)}": content for name, content in files.items()}


def test_a_file_that_is_too_long_spoils_its_guest_alone(machine: Machine):
    for name, size in (("web", 300_000), ("db", 200_000)):
        directory = machine.work / f"etc/systemd/system/systemd-nspawn@{name}.service.d"
        directory.mkdir(parents=True)
        (directory / "a.conf").write_bytes(b"x" * size)
    seen = machine.facts("guests").snapshot.guests
    assert isinstance(seen["web"], Unreadable)
    assert len(next(iter(seen["db"].files.values())).content) == 200_000


def runs(machine: Machine, name: str, answers: str) -> None:
    """Have a guest run whose systemd is this script."""
    for directory in ("run/systemd/machines", "systemd/guests"):
        (machine.work / directory).mkdir(parents=True, exist_ok=True)
    (machine.work / f"run/systemd/machines/{name}").touch()
    (machine.work / f"systemd/guests/{name}").write_text(answers)
    unit = UNIT.format(name=name, pid=0)
    (machine.work / f"systemd/unit-systemd-nspawn@{name}.service").write_text(unit)
    shown = f"Name={name}\nClass=container\nLeader=1\nUnit=systemd-nspawn@{name}.service\n\n"
    with (machine.work / "systemd/machines").open("a") as file:
        file.write(shown)


HEALTHY = """
case $1 in
show) echo SystemState=degraded ;;
list-units) echo 'bad.service loaded failed failed It fails' ;;
esac
"""
TROUBLE = {
    "floods": "yes 'bad.service loaded failed failed x'",
    "floods stderr": "yes >&2",
    "hangs": "sleep 600",
    "hangs and hears nothing": "trap '' TERM; while :; do sleep 1; done",
    "prints what looks like ours": "printf ':: done\\n:: guest db\\n|\\n:: system db\\n+\\n'",
    "prints blank lines": "printf '\\n\\n\\n'",
    "prints no text": "head -c 100000 /dev/urandom",
    "prints control sequences": "printf 'x\\033]0;owned\\007.service loaded failed failed \\033[2J\\n'",
    "prints a long line": "head -c 10000000 /dev/zero | tr '\\0' a",
    "fails": "echo 'Failed to connect to bus' >&2; exit 1",
    "is cut": "kill -KILL $$",
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_troubled_guest_neither_spoils_nor_delays_what_is_said_of_others(machine: Machine, trouble: str):
    runs(machine, "aa", HEALTHY)
    runs(machine, "web", TROUBLE[trouble])
    runs(machine, "zz", HEALTHY)
    began = time.monotonic()
    answer = machine.facts("guests", seconds=2)
    assert time.monotonic() - began < 20  # three seconds, one of grace, and a busy machine
    seen = answer.snapshot.guests
    for name in ("aa", "zz"):
        assert isinstance(seen[name], GuestSeen)
        assert seen[name].machine.system_state == "degraded"
        assert seen[name].machine.failed_units == ("bad.service",)
    web = seen["web"]
    if isinstance(web, GuestSeen):
        assert web.machine.system_state in (
            "",
            *(state for state in (web.machine.system_state,) if state.isprintable()),
        )
        assert all(unit.isprintable() for unit in web.machine.failed_units)
    assert "db" not in seen


def test_thirty_guests_that_hang_hang_at_once(machine: Machine):
    for number in range(30):
        runs(machine, f"g{number}", "sleep 600")
    began = time.monotonic()
    seen = machine.facts("guests", seconds=2).snapshot.guests
    assert time.monotonic() - began < 30
    assert len(seen) == 30


def test_the_definition_that_runs_is_read_from_its_process(machine: Machine):
    runs(machine, "web", HEALTHY)
    script = """
    PYINFRA_NSPAWN_DEFINITION=0123abc sleep 60 & pid=$!
    sed -i "s/MainPID=0/MainPID=$pid/" systemd/unit-systemd-nspawn@web.service
    eval "$1"
    kill $pid
    """
    # In one chroot: the process and the program that looks at it.
    line = command_line("--roots", WORK, "facts", "guests")
    said = machine.shell(script, f"PATH={WORK}/bin:$PATH; sh -c '{line}'")
    assert ":: definition web\n|0123abc\n" in said


NAMED = {
    "a drop-in": "mkdir -p etc/systemd/system/systemd-nspawn@x1.service.d",
    "a .nspawn file": "mkdir -p etc/systemd/nspawn; touch etc/systemd/nspawn/x1.nspawn",
    "a tree": "mkdir -p machines/x1",
    "an image": "mkdir -p machines; touch machines/x1.raw",
    "enabled somewhere": "mkdir -p etc/systemd/system/multi-user.target.wants; "
    "ln -s /x etc/systemd/system/multi-user.target.wants/systemd-nspawn@x1.service",
    "required somewhere": "mkdir -p etc/systemd/system/a.target.requires; "
    "ln -s /x etc/systemd/system/a.target.requires/systemd-nspawn@x1.service",
    "a machine": "mkdir -p run/systemd/machines; touch run/systemd/machines/x1",
    "kept by us": "mkdir -p state/x1",
}


@pytest.mark.parametrize("trace", NAMED)
def test_every_trace_of_a_guest_names_it(machine: Machine, trace: str):
    machine.shell(f": >systemd/machines; {NAMED[trace]}; touch state/stray 2>/dev/null || :")
    seen = machine.facts("guests", "asked").snapshot.guests
    assert set(seen) == {"x1", "asked"}
    if trace in ("a tree", "an image"):
        assert seen["x1"].image == f"{WORK}/machines/x1{'.raw' if trace == 'an image' else ''}"


def test_hundreds_of_guests_are_read(machine: Machine):
    names = [f"g{number}" for number in range(200)]
    for name in names:
        unit = UNIT.format(name=name, pid=0).rstrip("\n") + f"\nDropInPaths=/x/{'x' * 1500}\n"
        path = machine.work / f"systemd/unit-systemd-nspawn@{name}.service"
        path.parent.mkdir(exist_ok=True)
        path.write_text(unit)
    seen = machine.facts("guests", *names).snapshot.guests
    assert set(seen) == set(names)
    assert not any(isinstance(guest, Unreadable) for guest in seen.values())
