"""Guests as inventory hosts, with pyinfra's own operations: no sshd and no network in them is used."""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra, succeed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host

GUESTS = "inventories/lab_guests.py"
NAMES = ["@nspawn/lab1:web", "@nspawn/lab2:web"]
MEGABYTES = 100
OPERATIONS = """
import io
from pyinfra.operations import files, server, systemd

files.put(name="Put", src=io.StringIO("$HOME ${HOME} %i 'quoted'\\n"), dest="/etc/put", mode="0640")
files.line(name="Line", path="/etc/line", line="a line")
files.directory(name="Directory", path="/var/lib/made", user="nobody")
server.shell(name="Shell", commands=["echo $A ${A}x >/var/env"], _env={"A": "$b c"})
server.shell(name="Stdin", commands=["cat >/var/stdin"], _stdin="a\\nb")
server.user(name="User", user="somebody", home="/var/home/somebody", create_home=True)
systemd.service(name="Service", service="systemd-journald", running=True)
"""
GOT = """
head -n 1 /etc/put; stat -c '%a %U' /etc/put; grep -c 'a line' /etc/line
stat -c %U /var/lib/made; cat /var/env /var/stdin; pwd; echo $HOME
"""
EXPECTED = """\
$HOME ${HOME} %i 'quoted'
640 root
1
nobody
$b c $b cx
a
b
/var/roothome
/root
"""


KINDS = [("private", "private-users"), ("private", "overlay"), ("shared", "none")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind[1])
def isolation(fresh: dict[str, Host], request: pytest.FixtureRequest) -> str:
    sysroot, isolation = request.param
    succeed(guests=[{"name": "web", "sysroot": sysroot, "isolation": isolation}])
    for host in fresh.values():
        host.succeed("systemd-run -M web --wait --quiet --collect rm -rf /etc/put /etc/line /var/lib/made")
    return isolation


def deploy_of(folder: Path, text: str) -> str:
    path = folder / "deploy.py"
    path.write_text(text)
    return str(path)


@pytest.mark.usefixtures("isolation")
def test_operations_of_pyinfra(tmp_path: Path):
    script = deploy_of(tmp_path, OPERATIONS)
    outcome = pyinfra("-y", "--json", script, inventory=GUESTS)
    assert outcome.code == 0, outcome.stderr
    outcome = pyinfra("-y", "exec", "--", f"sh -c {shlex.quote(GOT)}", inventory=GUESTS)
    for name in NAMES:
        assert EXPECTED.strip() in "\n".join(outcome.lines(name))
    again = pyinfra("-y", "--json", script, inventory=GUESTS)
    changed = {item["name"] for item in again.json["results"]["operations"] if item["success"]}
    assert changed == {"Shell", "Stdin"}


@pytest.mark.usefixtures("isolation")
def test_a_command_that_fails_fails_on_that_guest(tmp_path: Path):
    text = """
from pyinfra.operations import server
server.shell(name="Fails", commands=[". /etc/os-release; test \\"${VERSION_ID-}\\" = 13"])
"""
    outcome = pyinfra("-y", "--json", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 1
    assert outcome.hosts("success")["Fails"] == [NAMES[0]]
    assert outcome.json["results"]["failed_hosts"] == [NAMES[1]]


@pytest.mark.usefixtures("isolation")
def test_a_large_file_survives_put_and_get(tmp_path: Path):
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(MEGABYTES * 2**20))
    text = f"""
from pyinfra.operations import files
from pyinfra.context import host
files.put(name="Put", src="{sent}", dest="/var/large")
files.get(name="Get", src="/var/large", dest="{tmp_path}/" + host.name.split("/")[1].replace(":", "-"))
"""
    outcome = pyinfra("-y", "--json", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 0, outcome.stderr
    digest = hashlib.sha256(sent.read_bytes()).hexdigest()
    for got in ("lab1-web", "lab2-web"):
        assert hashlib.sha256((tmp_path / got).read_bytes()).hexdigest() == digest


@pytest.mark.usefixtures("isolation")
def test_a_guest_that_does_not_run_is_told_and_the_other_is_done(fresh: dict[str, Host]):
    fresh["lab1"].succeed("systemctl stop systemd-nspawn@web")
    try:
        outcome = pyinfra("-y", "exec", "--", "echo done-here", inventory=GUESTS)
    finally:
        fresh["lab1"].succeed("systemctl start systemd-nspawn@web")
    assert any("guest web is not running" in line for line in outcome.lines(NAMES[0]))
    assert any("done-here" in line for line in outcome.lines(NAMES[1]))
    assert "Traceback" not in outcome.stderr


@pytest.mark.usefixtures("isolation")
def test_a_guest_reboots_and_its_host_does_not(fresh: dict[str, Host], tmp_path: Path):
    ids = "cat /proc/sys/kernel/random/boot_id; machinectl show web -p Leader"
    before = {name: host.succeed(ids).split() for name, host in fresh.items()}
    text = """
from pyinfra.operations import server
server.reboot(name="Reboot", delay=2, reboot_timeout=120)
server.shell(name="After", commands=["date >/var/after-reboot"])
"""
    outcome = pyinfra("-y", "--json", deploy_of(tmp_path, text), inventory=GUESTS)
    assert outcome.code == 0, outcome.stderr
    assert sorted(outcome.hosts("success")["After"]) == NAMES
    for name, host in fresh.items():
        boot, leader = host.succeed(ids).split()
        assert boot == before[name][0]
        assert leader != before[name][1]
