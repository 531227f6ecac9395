"""A guest is backed up while it runs, and made again on another host with every file as it was."""

from __future__ import annotations

import json
import re
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn.facts.archive import Archive, read_archive
from pyinfra_nspawn.facts.base import Unreadable
from tests.lab.commits import commit, release
from tests.lab.conftest import Outcome, pyinfra, succeed
from tests.lab.digests import digests, fill
from tests.lab.guest import inside
from tests.lab.lab import install_tools
from tests.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host

pytestmark = pytest.mark.timeout(600)

REF = "test/web"
FILES = 20000
OWN = "var/lib/pyinfra-nspawn"
UNIT = "systemd-nspawn@web.service"
STARTED = f"systemctl show {UNIT} -p ExecMainStartTimestampMonotonic --value"
BACKUPS = f"/{OWN}/.backups"
WEB: dict[str, Any] = {"name": "web", "source": REF, "start_timeout_seconds": 60}
STOPPED = {**WEB, "state": "stopped", "autostart": False}
GONE = {**WEB, "state": "absent", "purge": True}


def backup(host: str, *options: str, guests: list[dict[str, Any]] | None = None, **data: object) -> Outcome:
    return pyinfra(
        "--limit", host, *(options or ("-y",)), "deploys/backup.py", guests=guests or [WEB], **data
    )


def restore(*options: str, guest: str = "lab2:web", state: str = "running", **data: object) -> Outcome:
    return pyinfra(
        *(options or ("-y",)), "deploys/restore.py", guests=[{**WEB, "state": state}], restore=guest, **data
    )


def var(host: Host, guest: str = "web", sysroot: str = "private") -> Path:
    """The guest's /var, from outside of the lab's hosts."""
    own = host.sysroot / "ostree/deploy/host" / OWN / guest
    return (own if sysroot == "private" else host.sysroot) / "ostree/deploy" / guest / "var"


def etc(host: Host) -> Path:
    return host.sysroot / "ostree/deploy/host" / OWN / "web" / "current" / "etc"


@pytest.fixture(scope="module")
def hosts(fresh: dict[str, Host]) -> dict[str, Host]:
    """The first with a guest that has many files, the second with its commit."""
    first, second = fresh["lab1"], fresh["lab2"]
    commit(first, REF, release("one"))
    repositories = [host.sysroot / "ostree/repo" for host in (second, first)]
    run("ostree", f"--repo={repositories[0]}", "pull-local", repositories[1], REF)
    succeed("--limit", "lab1", "-y", guests=[WEB])
    first.succeed(f"systemctl stop {UNIT}")
    fill(var(first) / "data", FILES)
    fill(etc(first) / "data", 20)
    first.succeed(f"systemctl start {UNIT}")
    return fresh


@pytest.fixture(scope="module")
def copied(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the running guest, on the controller."""
    folder = tmp_path_factory.mktemp("controller") / "backups"
    outcome = backup("lab1", backup_to=str(folder))
    assert outcome.code == 0, outcome.stderr
    said = " ".join(outcome.lines("lab1"))
    assert f"backed up into {BACKUPS}/web/" in said
    down = re.search(r"was down for ([0-9.]+) s", said)
    assert down is not None, said
    assert float(down[1]) < 30
    (path,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (
        inside(hosts["lab1"], "web", "ls /var/data | wc -l")
        == f"{len(list((var(hosts['lab1']) / 'data').iterdir()))}\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path


def test_a_dry_run_takes_no_backup_and_stops_no_guest(hosts: dict[str, Host]):
    at = hosts["lab1"].succeed(STARTED)
    outcome = backup("lab1", "--dry")
    assert outcome.code == 0, outcome.stderr
    assert any("back up guest web: stop it" in line for line in outcome.lines("lab1"))
    assert hosts["lab1"].succeed(STARTED) == at
    assert (
        hosts["lab1"].succeed(
            f"ls {BACKUPS} || :",
        )
        == ""
    )


def test_an_archive_is_whole_and_roots_alone(hosts: dict[str, Host], copied: Path):
    host = hosts["lab1"]
    name = copied.name.removeprefix("web@lab1-")
    assert host.succeed(f"stat -c %a {BACKUPS} {BACKUPS}/web {BACKUPS}/web/{name}") == "700\n700\n600\n"
    assert host.succeed(f"ls -A {BACKUPS}/web") == f"{name}\n"
    assert host.succeed("ls -A /run/pyinfra-nspawn/backup") == ""
    assert inside(host, "web", "systemctl is-system-running") == "running\n"
    with tarfile.open(copied) as archive:
        assert archive.getnames()[:3] == ["manifest", "guest.json", "etc"]
        manifest = dict(line.split(" ", 1) for line in member(archive, "manifest").splitlines())
        assert (manifest["guest"], manifest["origin"], manifest["source"]) == ("web", "lab1", REF)
        assert json.loads(member(archive, "guest.json"))["name"] == "web"


def member(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None
    return file.read().decode()


def test_it_is_not_restored_while_the_original_runs(hosts: dict[str, Host], copied: Path):
    for options, guest, says in (
        (("-y",), "lab2:web", "the original runs on lab1"),
        (("--limit", "lab2", "-y"), "lab2:web", "whether the original runs on lab1 is unknown"),
        (("-y",), "lab1:web", "the host has a guest web, and nothing is replaced"),
    ):
        outcome = restore(*options, guest=guest, restore_from=str(copied))
        assert outcome.code == 1
        assert any(says in line for line in outcome.lines(guest.split(":")[0])), outcome.stderr
    assert "lab1, lab2 have a guest web" in restore("-y", guest="web").stderr
    assert hosts["lab2"].succeed(f"ls -A /{OWN} || :") == ""


def test_it_is_not_restored_while_the_original_starts_with_its_host(hosts: dict[str, Host], copied: Path):
    succeed("--limit", "lab1", "-y", guests=[{**WEB, "state": "stopped"}])
    outcome = restore(restore_from=str(copied))
    assert outcome.code == 1
    assert any("the original starts with its host, lab1" in line for line in outcome.lines("lab2"))
    assert hosts["lab2"].succeed(f"ls -A /{OWN} || :") == ""


def test_it_moves_to_another_host(hosts: dict[str, Host], copied: Path):
    first, second = hosts["lab1"], hosts["lab2"]
    succeed("--limit", "lab1", "-y", guests=[STOPPED])
    dry = restore("--dry", restore_from=str(copied))
    assert any("restore /etc and /var of guest web" in line for line in dry.lines("lab2")), dry.stderr
    outcome = restore(restore_from=str(copied))
    assert outcome.code == 0, outcome.stderr
    assert digests(var(second) / "data") == digests(var(first) / "data")
    assert len(digests(var(second) / "data")) > FILES
    assert digests(etc(second)) == digests(etc(first))
    assert inside(second, "web", "cat /usr/lib/lab-release") == "one\n"
    assert inside(second, "web", "cat /etc/machine-id") == (etc(first) / "machine-id").read_text()
    assert second.succeed(f"ls -A /{OWN}/.k3s /{OWN}/web/restoring 2>/dev/null || :") == ""


def test_the_second_run_changes_nothing(hosts: dict[str, Host], copied: Path):
    at = hosts["lab2"].succeed(STARTED)
    for outcome in (
        restore("-y", "--json", restore_from=str(copied)),
        pyinfra(
            "--limit", "lab2", "-y", "--json", "deploys/guest.py", guests=[{**WEB, "source": "test/web"}]
        ),
    ):
        assert outcome.code == 0, outcome.stderr
        assert not any("lab2" in names for names in outcome.hosts("success").values())
    assert hosts["lab2"].succeed(STARTED) == at


def test_a_new_machine_is_made_of_the_same_archive(hosts: dict[str, Host], copied: Path):
    second = hosts["lab2"]
    keys = "cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null || :"
    before = second.succeed(STARTED), inside(second, "web", keys)
    twin = {**WEB, "name": "twin"}
    data = {"restore_from": str(copied), "restore": "lab2:twin"}
    refused = pyinfra("--limit", "lab2", "-y", "deploys/restore.py", guests=[twin], **data)
    assert any("the archive is of guest web" in line for line in refused.lines("lab2"))
    outcome = pyinfra(
        "--limit",
        "lab2",
        "-y",
        "deploys/restore.py",
        guests=[WEB, twin],
        restore_as="new",
        restore_from=str(copied),
        restore="lab2:twin",
    )
    assert outcome.code == 0, outcome.stderr
    assert inside(second, "twin", "cat /etc/machine-id") != inside(second, "web", "cat /etc/machine-id")
    assert inside(second, "twin", "hostname") == "twin\n"
    assert (second.succeed(STARTED), inside(second, "web", keys)) == before
    assert digests(var(second, "twin") / "data") == digests(var(second) / "data")
    pyinfra("--limit", "lab2", "-y", "deploys/guest.py", guests=[{**twin, "state": "absent", "purge": True}])


@pytest.mark.parametrize("sysroot", ["private", "shared"])
def test_a_removed_guest_comes_back_from_its_hosts_archive(hosts: dict[str, Host], sysroot: str):
    first = hosts["lab1"]
    before = digests(var(first) / "data")
    assert len(before) > FILES
    succeed("--limit", "lab1", "-y", guests=[GONE])
    assert not var(first).exists()
    if sysroot == "private":  # it has moved to lab2 meanwhile
        refused = restore(guest="lab1:web")
        assert any("a guest with its machine id runs on lab2" in line for line in refused.lines("lab1")), (
            refused.stderr
        )
    outcome = pyinfra(
        "--limit",
        "lab1",
        "-y",
        "deploys/restore.py",
        guests=[{**WEB, "sysroot": sysroot}],
        restore="lab1:web",
    )
    assert outcome.code == 0, outcome.stderr
    assert digests(var(first, sysroot=sysroot) / "data") == before
    assert inside(first, "web", "cat /usr/lib/lab-release") == "one\n"


def test_what_was_restored_is_backed_up_in_its_turn(hosts: dict[str, Host]):
    """Now in the host's own sysroot; the latest two archives are kept."""
    first = hosts["lab1"]
    shared = {**WEB, "sysroot": "shared", "backups": 2}
    names = []
    for _ in range(2):
        assert backup("lab1", guests=[shared]).code == 0
        names = first.succeed(f"ls {BACKUPS}/web").split()
    assert len(names) == 2
    assert inside(first, "web", "systemctl is-system-running") == "running\n"


KEYS = """
export GNUPGHOME=/var/tmp/gpg
mkdir -p -m 0700 $GNUPGHOME
gpg --batch --quiet --passphrase "" --quick-generate-key backup default default never 2>/dev/null
gpg --armor --export
"""


def test_an_archive_is_encrypted_before_it_is_written(hosts: dict[str, Host], tmp_path: Path):
    first = hosts["lab1"]
    key = first.succeed(KEYS, timeout=120)
    shared = [{**WEB, "sysroot": "shared"}]
    outcome = backup("lab1", guests=shared, nspawn_host={"backup_key": key}, backup_to=str(tmp_path))
    assert outcome.code == 0, outcome.stderr
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".gpg"
    name = first.succeed(f"ls {BACKUPS}/web").split()[-1]
    plain = first.sysroot / "ostree/deploy/host/var/tmp/plain.tar"
    first.succeed(
        f"gpg --homedir=/var/tmp/gpg --quiet --output=/var/tmp/plain.tar --decrypt {BACKUPS}/web/{name}"
    )
    found = read_archive(str(plain))
    assert isinstance(found, Archive)
    assert found.guest == "web"
    assert isinstance(read_archive(str(path)), Unreadable)
    refused = restore(restore_from=str(path), guest="lab1:web")
    assert any("must be decrypted before" in line for line in refused.lines("lab1")), refused.stderr


def test_without_the_program_to_encrypt_it_there_is_no_archive_and_the_guest_is_left_alone(
    hosts: dict[str, Host],
):
    first = hosts["lab1"]
    before = first.succeed(f"{STARTED}; ls {BACKUPS}/web")
    outcome = backup(
        "lab1", guests=[{**WEB, "sysroot": "shared"}], nspawn_host={"backup_key": f"age1{'q' * 58}"}
    )
    assert outcome.code == 1
    assert any("the host has no age" in line for line in outcome.lines("lab1")), outcome.stderr
    assert first.succeed(f"{STARTED}; ls {BACKUPS}/web") == before


def test_age_encrypts_an_archive_too(hosts: dict[str, Host], tmp_path: Path):
    """With the program of this machine, which the lab's images lack."""
    install_tools({"age": "age"})
    first = hosts["lab1"]
    first.succeed("mkdir -p /usr/local/bin")
    shutil.copy(shutil.which("age") or "", first.sysroot / "ostree/deploy/host/var/usrlocal/bin/age")
    secret, copies, plain = (tmp_path / name for name in ("key", "copies", "plain.tar"))
    run("age-keygen", "--output", secret)
    key = run("age-keygen", "-y", secret).strip()
    shared = [{**WEB, "sysroot": "shared"}]
    outcome = backup("lab1", guests=shared, nspawn_host={"backup_key": key}, backup_to=str(copies))
    assert outcome.code == 0, outcome.stderr
    (path,) = copies.iterdir()
    assert path.suffix == ".age"
    assert isinstance(read_archive(str(path)), Unreadable)
    run("age", "--decrypt", "--identity", secret, "--output", plain, path)
    found = read_archive(str(plain))
    assert isinstance(found, Archive)
    assert found.guest == "web"
