"""Command lines to a guest: constant, one line, and read alike by every shell."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from inspect import getsource

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.facts.server import Uptime

from pyinfra_nspawn.connectors.door import (
    command_in_guest,
    file_in_guest,
    framed,
    host_command,
    look_at_guest,
    program_for,
    reader,
)
from pyinfra_nspawn.connectors.nspawn import UPTIME_OF_GUEST, UPTIME_OF_HOST

SECRET = "correct-horse"
SCRIPT = f"cat <<'END'\n[Service]\nRestart=always\n!x $HOME `id` \\n {SECRET} it's 100% \u00e9\nEND\ncat"
PRINTED = f"[Service]\nRestart=always\n!x $HOME `id` \\n {SECRET} it's 100% \u00e9\n"
SHELLS = ["sh", "bash", "dash", "fish", "tcsh"]


def test_a_units_description_and_arguments_are_one_constant_line():
    words, _ = command_in_guest("web", SCRIPT)
    assert "--description=pyinfra command" in words
    assert not any("\n" in word or "$" in word or "%" in word for word in words)
    of_another, _ = command_in_guest("web", SCRIPT.replace(SECRET, SECRET[::-1]))
    assert words == of_another


@pytest.mark.parametrize(
    "words", [command_in_guest("web", SCRIPT)[0], look_at_guest("web"), file_in_guest("web", "/run/a")]
)
def test_a_command_line_has_nothing_that_a_login_shell_changes(words: list[str]):
    line = host_command(words, {}, asked=False)
    assert not set("!$\\\n%") & set(line)
    assert line.count("'") == 2 * len([word for word in words if shlex.quote(word) != word])


@pytest.mark.parametrize("become", [{}, {"_su_user": "root"}], ids=["plain", "su"])
@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_runs_the_program_and_leaves_it_its_stdin(shell: str, become: dict[str, str]):
    program = framed(SCRIPT)
    line = host_command(["sh", "-c", reader(len(program))], become, asked=False)
    if become:  # su itself would ask who is no root: look at what it is told to run
        line = shlex.split(line)[-1]
    done = subprocess.run([shell, "-c", line], input=program + b"rest", capture_output=True, check=False)
    assert done.stdout.decode() == f"{PRINTED}rest", done.stderr


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_program_that_is_cut_off_runs_nothing_of_it(shell: str):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    program = framed("echo one; echo two\necho three")
    for size in range(1, len(program) - 2):
        done = subprocess.run(
            [shell, "-c", reader(len(program))], input=program[:size], capture_output=True, check=False
        )
        assert (done.stdout, done.returncode) != (b"", 0)
        assert done.stdout == b""


@pytest.mark.parametrize(
    ("text", "code"), [("exit 3", 3), ("false", 1), ("# a comment", 0), ("(", 2), ("true &", 0)]
)
def test_a_program_exits_as_it_would_by_itself(text: str, code: int):
    program = framed(text)
    done = subprocess.run(["sh", "-c", reader(len(program))], input=program, capture_output=True, check=False)
    assert done.returncode == code


ARGUMENTS = {"_env": {"A": SECRET}, "_chdir": "/tmp", "_su_password": SECRET, "_sudo_password": SECRET}


@pytest.mark.parametrize(
    "become",
    [{"_sudo": True, "_sudo_user": "a"}, {"_sudo": True, "_use_sudo_login": True}, {"_su_user": "a"}],
)
def test_another_user_of_the_guest_is_told_the_program_on_stdin(become: dict[str, object]):
    text, first = program_for(StringCommand(f"echo {SECRET}"), {**ARGUMENTS, **become})
    assert SECRET not in text
    assert f"head -c {len(first)}" in text
    assert f"cd /tmp && export A={SECRET} && echo {SECRET}".encode() in first


def test_root_of_the_guest_runs_the_program_itself():
    text, first = program_for(StringCommand("true"), {**ARGUMENTS, "_shell_executable": "sh"})
    assert (text, first) == (f"cd /tmp && export A={SECRET} && true", b"")
    text, first = program_for(StringCommand("true"), {"_shell_executable": "bash"})
    assert (text, first) == ("bash -c true", b"")


@pytest.mark.parametrize(
    ("become", "asked", "line"),
    [
        ({}, False, "id -u"),
        ({"_sudo": True}, False, "sudo -H -n -k id -u"),
        ({"_sudo": True, "_sudo_password": SECRET}, False, "sudo -H -n -k id -u"),
        ({"_sudo": True, "_sudo_password": SECRET}, True, "sudo -H -k -S -p '' id -u"),
        ({"_sudo": True, "_sudo_user": "a", "_use_sudo_login": True}, False, "sudo -H -n -k -i -u a id -u"),
        ({"_su_user": "root", "_su_password": SECRET}, True, "su root -c 'id -u'"),
        ({"_doas": True}, False, "doas -n id -u"),
    ],
)
def test_the_way_to_a_hosts_root(become: dict[str, object], asked: bool, line: str):
    assert host_command(["id", "-u"], become, asked=asked) == line


def test_a_guests_uptime_is_its_own():
    """`server.reboot` goes by it."""
    assert f'"{UPTIME_OF_HOST}"' in getsource(Uptime.command)
    seconds = int(subprocess.run(["sh", "-c", UPTIME_OF_GUEST], capture_output=True, check=True).stdout)
    with open("/proc/1/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rpartition(")")[2].split()[19]) / 100
        assert abs(seconds - (float(uptime.read().split()[0]) - started)) < 3
