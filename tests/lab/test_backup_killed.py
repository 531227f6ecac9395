"""A backup and a restore that are cut off anywhere: the guest runs, and half an archive passes for none."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn.facts.archive import Archive, read_archive
from tests.lab.conftest import PYINFRA, ROOT, Outcome, pyinfra, succeed
from tests.lab.guest import inside
from tests.lab.test_killed import NO_ORPHAN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host

pytestmark = pytest.mark.timeout(600)

WEB: dict[str, Any] = {"name": "web", "start_timeout_seconds": 60}
OWN = "/var/lib/pyinfra-nspawn"
BACKUPS = f"{OWN}/.backups/web"
WORK = "/run/pyinfra-nspawn/backup/web"
ENDED = f"! systemctl is-active --quiet pyinfra-nspawn-backup-web && ! test -e {WORK}"
RUNS = "systemctl -M web is-system-running"
# True once the guest is stopped, once the archive is begun, and once all of it is written.
POINTS = {
    "stopped": f"test -e {WORK}/stopped",
    "written": f"ls {BACKUPS}/.*.part",
    "whole": f"test -s {WORK}/digest",
}


@pytest.fixture(scope="module")
def host(fresh: dict[str, Host]) -> Host:
    """A host with a guest whose files take a second or two to read."""
    host = fresh["lab1"]
    succeed("--limit", "lab1", "-y", guests=[WEB])
    inside(host, "web", "head -c 500M /dev/urandom >/var/big; echo kept >/etc/kept; sync")
    return host


def backup(kill_after: int = 0, **data: object) -> Outcome:
    words = ("--limit", "lab1", "-y", "deploys/backup.py")
    return pyinfra(*words, guests=[WEB], kill_after=kill_after, **data)


def archives(host: Host) -> list[str]:
    """Return the names of the archives, each of which must be whole."""
    names = host.succeed(f"ls -A {BACKUPS} 2>/dev/null || :").split()
    for name in names:
        path = host.sysroot / "ostree/deploy/host" / BACKUPS.removeprefix("/") / name
        assert isinstance(read_archive(str(path)), Archive), name
    return names


def under_way(host: Host, point: str) -> subprocess.Popen[bytes]:
    """Start a backup, and return it once it has come so far."""
    data = ("--data", f"guests={json.dumps([WEB])}")
    command = [PYINFRA, "--limit", "lab1", "-y", *data, "inventories/lab.py", "deploys/backup.py"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    host.wait_until_succeeds(POINTS[point])
    return process


@pytest.mark.parametrize("point", POINTS)
def test_a_backup_that_is_killed_itself_starts_the_guest_again(host: Host, point: str):
    before = archives(host)
    process = under_way(host, point)
    host.succeed("systemctl kill --signal=KILL pyinfra-nspawn-backup-web || :")
    process.wait(60)
    host.wait_until_succeeds(ENDED)
    host.wait_until_succeeds(RUNS)
    assert point == "whole" or archives(host) == before
    assert process.returncode != 0 or archives(host) != before


def test_a_power_cut_leaves_no_half_archive(host: Host):
    process = under_way(host, "written")
    host.crash()
    process.kill()
    process.wait()
    host.wait_until_succeeds(RUNS)
    assert backup().code == 0
    assert all(name.startswith("20") for name in archives(host))


def test_a_backup_does_not_need_its_controller(host: Host):
    before = archives(host)
    process = under_way(host, "stopped")
    process.kill()
    process.wait()
    host.wait_until_succeeds(ENDED)
    host.wait_until_succeeds(RUNS)
    assert len(set(archives(host)) - set(before)) == 1


def test_a_copy_that_is_cut_off_is_begun_again_and_leaves_none_by_its_name(host: Host, tmp_path: Path):
    """Whatever command the controller dies after; the third fetches the first part of the archive."""
    for count in itertools.count(2):
        outcome = backup(kill_after=count, backup_to=str(tmp_path))
        host.wait_until_succeeds(NO_ORPHAN)
        host.wait_until_succeeds(RUNS)
        assert outcome.code in (0, -signal.SIGKILL), outcome.stderr
        copied = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
        assert all(isinstance(read_archive(str(path)), Archive) for path in copied)
        if count > 3:
            break
    assert archives(host)
    assert backup(backup_to=str(tmp_path)).code == 0
    assert [path.suffix for path in tmp_path.iterdir() if not path.name.startswith(".")] == [".tar"]


def test_a_restore_is_finished_by_the_next_run_whatever_command_its_controller_dies_after(
    host: Host,
):
    inside(host, "web", "rm /var/big")
    assert backup().code == 0
    words = ("--limit", "lab1", "-y")
    killed = 0
    for count in itertools.count(1):
        succeed(*words, guests=[{"name": "web", "state": "absent", "purge": True}])
        given: dict[str, Any] = {"guests": [WEB], "restore": "lab1:web"}
        outcome = pyinfra(*words, "deploys/restore.py", kill_after=count, **given)
        if outcome.code == 0:
            break
        assert outcome.code == -signal.SIGKILL, outcome.stderr
        killed += 1
        last = pyinfra(*words, "deploys/restore.py", **given)
        assert last.code == 0, last.stderr
        assert inside(host, "web", "cat /etc/kept") == "kept\n"
        assert host.succeed(f"ls -A {OWN}/web/restoring 2>/dev/null || :") == ""
    assert killed >= 3


def test_a_guest_that_is_half_restored_is_left_alone_until_it_is_whole(host: Host):
    words = ("--limit", "lab1", "-y")
    started = host.succeed("systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value")
    host.succeed(f"echo {'0' * 64} >{OWN}/web/restoring")
    for deploy in ("deploys/guest.py", "deploys/upgrade.py", "deploys/backup.py"):
        outcome = pyinfra(*words, deploy, guests=[WEB])
        assert outcome.code == 1
        assert any("its restore was interrupted" in line for line in outcome.lines("lab1"))
    host.succeed(f"rm {OWN}/web/restoring")
    assert started == host.succeed(
        "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value"
    )
