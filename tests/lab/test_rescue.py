"""`pyinfra-nspawn rescue`: a guest that does not boot is entered without its init, behind the same wall."""

from __future__ import annotations

import json
import os
import pty
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import BOTH, deploy, succeed
from tests.lab.guest import inside
from tests.lab.script import ROOT, SCRIPT, script
from tests.lab.test_way_in import read_terminal

if TYPE_CHECKING:
    import subprocess

    from tests.lab import Host

#: In a sysroot of its own with users of its own; and in the host's, with real root.
GUESTS: dict[str, dict[str, Any]] = {
    "lab1": {"name": "web", "start_timeout_seconds": 15, "environment": {"A": "$HOME and %h"}},
    "lab2": {"name": "web", "start_timeout_seconds": 15, "sysroot": "shared", "isolation": "overlay"},
}
NEVER = "[Service]\\nType=oneshot\\nTimeoutStartSec=infinity\\nExecStart=/bin/sleep infinity\\n"
WANTS = "/etc/systemd/system/multi-user.target.wants"
BREAK = (
    f"printf '{NEVER}' >/etc/systemd/system/never.service; mkdir -p {WANTS}; ln -s ../never.service {WANTS}"
)


def options(name: str) -> list[str]:
    data = f"guests={json.dumps([GUESTS[name]])}"
    return ["--inventory", "inventories/lab.py", "--data", data, f"{name}:web"]


def rescue(name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return script("rescue", *options(name), "--", *words, stdin=stdin)


@pytest.fixture(scope="module", autouse=True)
def broken(fresh: dict[str, Host]) -> None:
    """A guest on each host whose boot never ends."""
    for name, host in fresh.items():
        succeed("--limit", name, "-y", guests=[GUESTS[name]])
        inside(host, "web", f"{BREAK}; echo kept >/var/kept")
        host.succeed("systemctl restart --no-block systemd-nspawn@web")
        host.wait_until_succeeds(
            "systemctl show -p ActiveState --value systemd-nspawn@web | grep -q activating"
        )


@pytest.mark.parametrize("name", BOTH)
def test_a_command_sees_the_guest_s_files_and_runs_as_the_guest_s_root(fresh: dict[str, Host], name: str):
    shown = rescue(name, "sh", "-c", "cat /usr/lib/lab-release /var/kept; id -u; exit 7")
    release = fresh[name].succeed("cat /usr/lib/lab-release")
    assert (shown.returncode, shown.stdout) == (7, f"{release}kept\n0\n"), shown.stderr
    assert fresh[name].succeed("machinectl list --no-legend") == ""


@pytest.mark.parametrize("name", BOTH)
def test_the_wall_is_the_guest_s(fresh: dict[str, Host], name: str):
    tries = """
    cat /proc/self/uid_map | tr -s ' '
    touch /usr/mine 2>&1 && ls /usr/mine
    mknod /tmp/disk b 7 0 && head -c 1 /tmp/disk
    cat /proc/1/comm
    """
    shown = rescue(name, "sh", "-c", f"({tries}) 2>&1")
    if name == "lab1":
        assert not shown.stdout.startswith(" 0 0 ")
        assert "Read-only file system" in shown.stdout
    fresh[name].fail("ls /usr/mine")
    assert "ermitted" in shown.stdout, shown.stdout
    assert "systemd" not in shown.stdout


@pytest.mark.parametrize("name", BOTH)
def test_a_shell_at_a_terminal(name: str):
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execve(SCRIPT, [str(SCRIPT), "rescue", *options(name)], {**os.environ, "TERM": "vt220"})
    try:
        read_terminal(terminal, "#")
        os.write(terminal, b'echo "is:$(cat /var/kept):$((40 + 2))"; exit 5\n')
        assert "is:kept:42" in read_terminal(terminal, "is:kept:")
        read_terminal(terminal, None)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    finally:
        os.close(terminal)


@pytest.mark.parametrize("name", BOTH)
def test_what_kept_it_from_booting_is_taken_away_and_the_next_run_starts_it(
    fresh: dict[str, Host], name: str
):
    """Until then it stays stopped, and fails the run."""
    assert fresh[name].succeed("systemctl show -p ActiveState --value systemd-nspawn@web") == "inactive\n"
    assert deploy("--limit", name, "-y", guests=[GUESTS[name]]).code == 1
    assert rescue(name, "rm", f"{WANTS}/never.service").returncode == 0
    succeed("--limit", name, "-y", guests=[GUESTS[name]])
    assert fresh[name].succeed("systemctl -M web is-system-running") == "running\n"
    refused = rescue(name, "true")
    assert refused.returncode != 0
    assert "it runs" in refused.stderr
    assert fresh[name].succeed("systemctl -M web is-system-running") == "running\n"


def test_what_cannot_be_entered_is_an_error_with_a_hint():
    shown = script("rescue", "--inventory", "inventories/lab.py", "lab1:gone", "--", "true")
    assert shown.stderr == "Error: the inventory has no guest gone on lab1\n"
    shown = script("rescue", "lab1:web", "--", "true")
    assert "give the inventory" in shown.stderr
