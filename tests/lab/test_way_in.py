"""`pyinfra-nspawn shell` and `logs`: a way into a guest that has no network."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import succeed
from tests.lab.guest import inside
from tests.lab.script import ROOT, SCRIPT, script

if TYPE_CHECKING:
    from tests.lab import Host

INVENTORY = ("--inventory", "inventories/lab.py")
NAMES = ("lab1", "lab2")  # root, and a user with sudo
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def guests(fresh: dict[str, Host]) -> None:
    """A guest on each host, whose network is down."""
    succeed("-y")
    for host in fresh.values():
        inside(host, "web", "ip link set host0 down")


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_its_arguments_output_and_exit_code(name: str):
    shown = script(
        "shell", *INVENTORY, f"{name}:web", "--", "sh", "-c", 'echo "$0"; id -u >&2; exit 7', "a  'b\""
    )
    assert (shown.returncode, shown.stdout, shown.stderr) == (7, "a  'b\"\n", "0\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_command_reads_stdin_to_its_end(name: str):
    text = "line\n" * 50000
    assert script("shell", *INVENTORY, f"{name}:web", "--", "cat", stdin=text).stdout == text


def test_a_command_that_does_not_read_stdin_ends():
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w"):  # never ends
        child = os.posix_spawn(
            SCRIPT,
            [str(SCRIPT), "shell", *INVENTORY, "lab1:web", "--", "sh", "-c", "exit 3"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)],
        )
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_login_shell_at_a_terminal(name: str):
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execve(SCRIPT, [str(SCRIPT), "shell", *INVENTORY, f"{name}:web"], {**os.environ, "TERM": "vt220"})
    try:
        read_terminal(terminal, "#")
        os.write(terminal, b'echo "is:$(hostname):$TERM:$(test -t 0 && stty size)"; exit 5\n')
        assert "is:web:vt220:24 80" in read_terminal(terminal, "is:web:vt220:")
        read_terminal(terminal, None)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    finally:
        os.close(terminal)


def read_terminal(terminal: int, until: str | None) -> str:
    """Read what a terminal shows, until this or its end."""
    shown, deadline = b"", time.monotonic() + SECONDS
    while until is None or until.encode() not in shown:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], shown
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return shown.decode()
        shown += chunk
    return shown.decode()


@pytest.mark.parametrize("name", NAMES)
def test_the_journal_of_a_guest_without_what_a_terminal_obeys(fresh: dict[str, Host], name: str):
    inside(fresh[name], "web", r"printf 'red \033[31m\n' | systemd-cat -t painter; journalctl --sync")
    shown = script("logs", *INVENTORY, f"{name}:web", "--lines", "50")
    assert shown.returncode == 0, shown.stderr
    assert "painter" in shown.stdout
    assert "\x1b" not in shown.stdout
    one = script("logs", *INVENTORY, f"{name}:web", "--unit", "dbus.service")
    assert "painter" not in one.stdout


def test_what_cannot_be_reached_is_an_error_with_a_hint():
    shown = script("shell", *INVENTORY, "lab1:gone", "--", "true")
    assert shown.returncode == 1
    assert "guest gone is not running" in shown.stderr
    assert "Start it on lab1" in shown.stderr
    assert "has no host lab9" in script("shell", *INVENTORY, "lab9:web", "--", "true").stderr
    assert "HOST:GUEST" in script("shell", *INVENTORY, "web", "--", "true").stderr
    assert "needs a terminal" in script("shell", *INVENTORY, "lab1:web").stderr
