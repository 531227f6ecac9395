"""The way to guests as inventory hosts: what it shows to nobody, and how it gets through."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.command_lines import command_lines
from tests.lab.conftest import PYINFRA, ROOT, pyinfra, succeed
from tests.lab.paths import SSH_CONFIG
from tests.lab.test_connector import deploy_of
from tests.lab.test_verify import PYTEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Host

GUESTS = "inventories/lab_guests.py"
NAMES = ["@nspawn/lab1:web", "@nspawn/lab2:web"]
SECRET = "correct-horse-battery"
PASSWORD = "staple '$HOME\\ !"
RUN_SECONDS = 60

pytestmark = pytest.mark.usefixtures("web")


@pytest.fixture(scope="module")
def web(fresh: dict[str, Host]) -> dict[str, Host]:
    succeed(guests=[{"name": "web"}])
    return fresh


def journals(host: Host, since: str) -> str:
    """Return all fields of what host and guest have logged."""
    host.succeed("journalctl --sync")
    every = f"journalctl --output=export --since={since}"
    return host.succeed(f"{every}; systemd-run -M web --pipe --wait -q {every}")


# What a command says.


def test_no_command_text_is_in_any_journal(web: dict[str, Host], tmp_path: Path):
    text = f"""
from pyinfra.operations import server
def shell(**arguments):
    server.shell(
        name=f"Shell {{sorted(arguments)}}",
        commands=["env TOKEN={SECRET} true", "logger said-$(id -un)"],
        **arguments,
    )
shell()
shell(_env={{"A": "{SECRET}"}}, _sudo=True, _sudo_user="nobody")
shell(_sudo=True, _use_sudo_login=True)
shell(_su_user="nobody", _su_shell="sh", _stdin="{SECRET}")
shell(_get_pty=True)
"""
    starts = {name: host.succeed("date +@%s").strip() for name, host in web.items()}
    outcome = pyinfra("-y", "--json", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 0, outcome.stderr
    for name, host in web.items():
        logged = journals(host, starts[name])
        assert logged.count("MESSAGE=said-") == 5
        assert SECRET not in logged


SCRIPT = """cat /run/systemd/transient/run-*.service
cat >/dev/null <<'EOF'

[Service]
Restart=always
EOF
systemctl daemon-reload
date >>/var/runs"""


def test_a_units_file_has_no_line_of_a_script(web: dict[str, Host], tmp_path: Path):
    """Before 255, systemd writes a description there as it is."""
    text = f"from pyinfra.operations import server\nserver.shell(name='Script', commands=[{SCRIPT!r}])"
    outcome = pyinfra("-y", "-vvv", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 0, outcome.stderr
    for name in NAMES:
        unit = outcome.lines(name)
        assert "Description=pyinfra command" in unit
        assert "Restart=always" not in unit
    for host in web.values():
        assert host.succeed("systemd-run -M web --pipe --wait -q wc -l /var/runs").split()[0] == "1"


def test_a_command_at_a_terminal(tmp_path: Path):
    text = """
from pyinfra.operations import server
server.shell(name="Terminal", commands=["test -t 0 && tty; echo $A"], _get_pty=True, _env={"A": "$b 'c'"})
server.shell(name="Refused", commands=["cat"], _get_pty=True, _stdin="a")
"""
    outcome = pyinfra("-y", "-vvv", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 1
    for name in NAMES:
        assert any(line.startswith("/dev/pts/") for line in outcome.lines(name))
        assert "$b 'c'" in outcome.lines(name)
        assert any("`_get_pty` in a guest goes with neither `_stdin`" in line for line in outcome.lines(name))


# One connection.


def test_thirty_guests_of_a_host_share_one_connection(web: dict[str, Host], tmp_path: Path):
    inventory = tmp_path / "thirty.py"
    inventory.write_text(f"""
import runpy
guests = [
    (f"{{name}}-{{number}}", {{**data, "nspawn_guest": "web"}})
    for name, data in runpy.run_path("{ROOT / GUESTS}")["lab_guests"]
    for number in range(30)
]
""")
    before = {name: connections(host) for name, host in web.items()}
    outcome = pyinfra("-y", "exec", "--", "echo here", inventory=str(inventory))
    assert outcome.code == 0, outcome.stderr
    assert len(re.findall(r"\] +here$", outcome.stderr, re.MULTILINE)) == 60
    for name, host in web.items():
        assert connections(host) == before[name] + 1


def connections(host: Host) -> int:
    host.succeed("journalctl --sync")
    return host.succeed("journalctl --boot --output=cat").count("Accepted publickey for")


# A password for sudo.


@pytest.fixture(scope="module")
def keyed(web: dict[str, Host]) -> Iterator[Host]:
    """Yield lab2 with a user whom sudo asks for a password."""
    host = web["lab2"]
    host.succeed(f"""
useradd --create-home --home-dir /var/home/keyed --shell /bin/sh keyed
echo {shlex.quote(f"keyed:{PASSWORD}")} | chpasswd
echo 'keyed ALL=(ALL) ALL' >/etc/sudoers.d/keyed
install -d -o keyed -m 0700 /var/home/keyed/.ssh
install -o keyed -m 0600 ~admin/.ssh/authorized_keys /var/home/keyed/.ssh/
""")
    yield host
    host.succeed("rm /etc/sudoers.d/keyed; userdel --remove keyed")


def inventories(folder: Path, **data: object) -> tuple[str, str]:
    """Write an inventory of lab2 as that user, and one of its guests."""
    hosts, guests, config = folder / "hosts.py", folder / "guests.py", folder / "ssh_config"
    config.write_text(SSH_CONFIG.read_text().replace("User admin", "User keyed"))
    hosts.write_text(
        f"import runpy\n_lab = dict(runpy.run_path('{ROOT}/inventories/lab.py')['lab'])\n"
        f"hosts = [('lab2', {{**_lab['lab2'], 'ssh_config_file': '{config}', **{data!r}}})]\n"
    )
    guests.write_text(
        "import runpy\nfrom pyinfra_nspawn.connectors.nspawn import guests_of\n"
        f"guests = guests_of(runpy.run_path('{hosts}')['hosts'])\n"
    )
    return str(hosts), str(guests)


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("login", [False, True], ids=["sudo", "sudo-i"])
def test_a_sudo_password_opens_the_way_and_is_shown_nowhere(tmp_path: Path, login: bool):
    _, guests = inventories(tmp_path, _sudo_password=PASSWORD, _use_sudo_login=login)
    with command_lines() as seen:
        outcome = pyinfra("-y", "-vvv", "--debug", "exec", "--", "cat", inventory=guests)
        shown = pyinfra("debug-inventory", "--json", inventory=guests)
    assert outcome.code == 0, outcome.stderr
    assert shown.code == 0, shown.stderr
    assert PASSWORD not in outcome.stdout + outcome.stderr + shown.stdout
    assert not [line for line in seen if PASSWORD in line]


@pytest.mark.usefixtures("keyed")
def test_the_checks_of_a_fleet_take_a_sudo_password(tmp_path: Path):
    hosts, _ = inventories(tmp_path, _sudo_password=PASSWORD, guests=[{"name": "web"}])
    command = [*PYTEST, "--nspawn-inventory", hosts, "-q", "-k", "running_guest or booted"]
    with command_lines() as seen:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert not [line for line in seen if PASSWORD in line]


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("data", [{}, {"_sudo_password": "wrong"}], ids=["none", "wrong"])
def test_without_the_right_password_it_is_one_line(tmp_path: Path, data: dict[str, str]):
    _, guests = inventories(tmp_path, **data)
    outcome = pyinfra("-y", "exec", "--", "true", inventory=guests)
    assert outcome.code == 1
    (line,) = (line for line in outcome.lines(NAMES[1]) if "no way to root on lab2" in line)
    assert "Set `_sudo_password`" in line
    assert "Traceback" not in outcome.stderr


@pytest.mark.usefixtures("keyed")
def test_at_a_terminal_the_password_is_asked_for_once_a_host(tmp_path: Path):
    guests = Path(inventories(tmp_path)[1])
    again = "guests += [(f'{name}-2', {**data, 'nspawn_guest': 'web'}) for name, data in guests]\n"
    guests.write_text(f"{guests.read_text()}{again}")
    code, shown = at_a_terminal("-y", str(guests), "exec", "--", "echo here", typed=f"{PASSWORD}\n")
    assert code == 0, shown
    assert shown.count("sudo password on lab2") == 1
    assert len(re.findall(r"\] +here\r?$", shown, re.MULTILINE)) == 2


def at_a_terminal(*arguments: str, typed: str) -> tuple[int, str]:
    """Run pyinfra at a terminal, type when it asks for a password; return exit code and what was shown."""
    child, ours = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execv(PYINFRA, [str(PYINFRA), *arguments])
    shown = b""
    deadline = time.monotonic() + RUN_SECONDS
    while select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the terminal's end
            break
        if typed and b"password" in shown:
            time.sleep(0.5)  # until the echo is off
            os.write(ours, typed.encode())
            typed = ""
    os.close(ours)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown.decode())
