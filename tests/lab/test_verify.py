"""The checks of a fleet, upon the lab's hosts: they pass after a deploy, and each sees its own fault."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import ROOT, succeed
from tests.lab.paths import INSTANCE, INSTANCE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Host

CHECKS = ("--pyargs", "pyinfra_nspawn.verify")
PYTEST = (sys.executable, "-m", "pytest", *CHECKS, "--color=no", "-p", "no:cacheprovider")
UNIT = "systemd-nspawn@web.service"
OWN = "/var/lib/pyinfra-nspawn/web"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
LIMITS = f"{DROPINS}/60-limits.conf"
PARTIAL = f"{OWN}/ostree/repo/state/$(basename $(readlink {OWN}/current) | cut -d. -f1).commitpartial"
INSIDE = "systemd-run --machine=web --wait --quiet"
LIMIT = "/proc/sys/fs/inotify/max_user_instances"
RICH = """
guest = {
    "hostname": "www",
    "machine_id": "MACHINE_ID",
    "restart": "on-failure",
    "autostart": False,
    "limits": {"memory_max": "40%", "cpu_quota": "6150%", "tasks_max": 4000, "io_weight": 50},
    "environment": {"NASTY": "100% of $HOME, \\"quoted\\""},
    "mask_units": ["systemd-timesyncd.service"],
    "files": {"/etc/demo.conf": {"content": "a secret", "mode": "0600", "group": "1"}, "/opt/a/b": "c"},
    "credentials": {"demo": "a secret"},
    "binds": [{"source": "/usr/share", "target": "/var/shared"}],
}
"""


@dataclass(frozen=True)
class Verdict:
    """What the checks said.

    + failed: the sentence of each that failed, by its name
    """

    code: int
    failed: dict[str, str]
    output: str


def verify(*options: str, inventory: object = "inventories/lab.py") -> Verdict:
    """Run the checks as a user would."""
    done = subprocess.run(
        [*PYTEST, f"--nspawn-inventory={inventory}", *options],
        cwd=ROOT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS": "1000", INSTANCE_VARIABLE: str(INSTANCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    failed = re.findall(r"(?m)^(?:FAILED|ERROR) \S+::(\S+)(?: - (?:Failed: )?(.*))?$", done.stdout)
    return Verdict(done.returncode, dict(failed), done.stdout + done.stderr)


@pytest.fixture(scope="module", autouse=True)
def deployed(fresh: dict[str, Host]) -> Iterator[dict[str, Host]]:
    """Both hosts, with what the inventory wants; and again so afterwards."""
    succeed()
    yield fresh
    succeed()


def test_every_check_passes_after_a_deploy():
    verdict = verify("--verbose")
    assert verdict.code == 0, verdict.output
    for place in ("lab1", "lab2", "lab1-web", "lab2-web"):
        assert len(re.findall(rf"\[{place}\] PASSED", verdict.output)) >= 8, verdict.output


@dataclass(frozen=True)
class Fault:
    """What somebody did to lab1, how it is undone, and the one check that tells.

    + says: a part of the sentence
    """

    check: str
    says: str
    make: str
    mend: str


WALL = "test_no_drop_in_of_all_guests_or_services_touches_the_guests_wall"
LAYER = (
    "mkdir -p /run/layer/upper /run/layer/work; mount -t overlay overlay /usr/lib/systemd/system "
    "-o lowerdir=/usr/lib/systemd/system,upperdir=/run/layer/upper,workdir=/run/layer/work; "
)


def shared_dropin(directory: str, setting: str, name: str = "zz.conf") -> tuple[str, str]:
    """Return how a drop-in of all guests or services is made, and how it is taken away."""
    write = f"mkdir -p {directory}; printf '[Service]\\n{setting}\\n' >{directory}/{name}"
    return f"{write}; systemctl daemon-reload", f"rm -r {directory}; systemctl daemon-reload"


FAULTS = [
    Fault(
        "test_machines_target_is_enabled[lab1]",
        "to be enabled, found disabled",
        "systemctl disable machines.target",
        "systemctl enable machines.target",
    ),
    Fault(
        "test_the_inotify_limit_in_force_is_enough_for_the_guests[lab1]",
        "of 144 or more in force, found 143",
        f"cat {LIMIT} >/run/limit; echo 143 >{LIMIT}",
        f"cat /run/limit >{LIMIT}",
    ),
    Fault(
        "test_the_inotify_limit_of_the_next_boot_is_enough_for_the_guests[lab1]",
        "of 144 or more in sysctl.d, found 100",
        "echo fs.inotify.max_user_instances=100 >/etc/sysctl.d/90-other.conf",
        "rm /etc/sysctl.d/90-other.conf",
    ),
    Fault(
        "test_the_guest_can_be_rolled_back[lab1-web]",
        f"what {OWN}/fallback points at to be directory",
        f"ln -s ostree/deploy/web/deploy/{'0' * 64}.0 {OWN}/fallback",
        f"rm {OWN}/fallback",
    ),
    Fault(
        "test_the_guest_boots_no_commit_that_was_refused[lab1-web]",
        "expected another commit than",
        f"basename $(readlink {OWN}/current) | cut -d. -f1 >{OWN}/refused-commits",
        f"rm {OWN}/refused-commits",
    ),
    Fault(
        "test_no_change_of_the_guest_was_cut_off[lab1-web]",
        "/run/pyinfra-nspawn/trial/web to be nothing, found",
        "mkdir -p /run/pyinfra-nspawn/trial/web",
        "rmdir /run/pyinfra-nspawn/trial/web",
    ),
    Fault(
        "test_no_user_of_the_host_can_reach_into_the_guest[lab1-web]",
        f"mode and owner of {OWN} to be 0700 root:root, found 0755 root:root",
        f"chmod 0755 {OWN}",
        f"chmod 0700 {OWN}",
    ),
    Fault(
        "test_only_root_reads_the_guests_credentials[lab1-web]",
        "tmpfiles.extra to be 600 root:root, found 644 root:root",
        f"chmod 0644 {OWN}/credentials/tmpfiles.extra",
        f"chmod 0600 {OWN}/credentials/tmpfiles.extra",
    ),
    Fault(
        "test_nobody_else_has_a_drop_in_for_the_guest[lab1-web]",
        f"to be none, found {DROPINS}/10-service.conf",
        f"printf '[Service]\\nNice=5\\n' >{DROPINS}/10-service.conf; systemctl daemon-reload",
        f"rm {DROPINS}/10-service.conf; systemctl daemon-reload",
    ),
    Fault(
        f"{WALL}[lab1-web]",
        "to be none, found /etc/systemd/system/systemd-nspawn@.service.d/zz.conf with DeviceAllow",
        *shared_dropin("/etc/systemd/system/systemd-nspawn@.service.d", "DeviceAllow=block-* rwm"),
    ),
    Fault(
        f"{WALL}[lab1-web]",
        "to be none, found /run/systemd/system/systemd-nspawn@.service.d/zz.conf with Environment",
        *shared_dropin("/run/systemd/system/systemd-nspawn@.service.d", "Environment=SYSTEMD_NSPAWN_LOCK=0"),
    ),
    Fault(
        f"{WALL}[lab1-web]",
        "to be none, found /run/systemd/system/service.d/zz.conf with NoNewPrivileges",
        *shared_dropin("/run/systemd/system/service.d", "NoNewPrivileges=no"),
    ),
    Fault(
        f"{WALL}[lab1-web]",
        "to be none, found /usr/lib/systemd/system/systemd-nspawn@.service.d/zz.conf with ExecStartPre",
        LAYER
        + shared_dropin("/usr/lib/systemd/system/systemd-nspawn@.service.d", "ExecStartPre=/bin/true")[0],
        "umount /usr/lib/systemd/system; rm -r /run/layer; systemctl daemon-reload",
    ),
    Fault(
        "test_the_guest_starts_with_the_host_as_wanted[lab1-web]",
        "to be enabled, found disabled",
        f"systemctl disable {UNIT}",
        f"systemctl enable {UNIT}",
    ),
    Fault(
        "test_the_guest_runs_as_wanted[lab1-web]",
        "to be active, found inactive",
        f"systemctl stop {UNIT}",
        f"systemctl start {UNIT}; systemctl -M web is-system-running --wait",
    ),
    Fault(
        "test_the_guest_runs_its_present_definition[lab1-web]",
        "found",
        f"cp {DROPINS}/50-ostree.conf /run/saved;"
        f"sed -i 's/^\\(Environment=PYINFRA_NSPAWN_DEFINITION=\\).*/\\1edited/' {DROPINS}/50-ostree.conf;"
        "systemctl daemon-reload",
        f"cp /run/saved {DROPINS}/50-ostree.conf; systemctl daemon-reload",
    ),
    Fault(
        "test_our_sysctl_file_is_ours[lab1]",
        "to be 0644 root:root, found 0666 root:root",
        "chmod 0666 /etc/sysctl.d/60-pyinfra-nspawn.conf",
        "chmod 0644 /etc/sysctl.d/60-pyinfra-nspawn.conf",
    ),
    Fault(
        "test_no_user_of_the_host_can_reach_the_guests[lab1]",
        "to be 0700 root:root, found 0711 root:root",
        "chmod 0711 /var/lib/pyinfra-nspawn",
        "chmod 0700 /var/lib/pyinfra-nspawn",
    ),
    Fault(
        "test_the_current_commit_is_in_the_guests_repository[lab1-web]",
        ".commitpartial to be nothing, found 0644 root:root",
        f"touch {PARTIAL}",
        f"rm {PARTIAL}",
    ),
    Fault(
        "test_the_guests_files_are_ours[lab1-web]",
        "to be # Managed by pyinfra-nspawn",
        f"cp {LIMITS} /run/saved; sed -i 1d {LIMITS}; systemctl daemon-reload",
        f"cp /run/saved {LIMITS}; systemctl daemon-reload",
    ),
    Fault(
        "test_the_guests_files_are_roots[lab1-web]",
        "to be 0644 root:root, found 0664 root:root",
        f"chmod 0664 {LIMITS}",
        f"chmod 0644 {LIMITS}",
    ),
    Fault(
        "test_systemd_has_loaded_the_guests_files[lab1-web]",
        "NeedDaemonReload of systemd-nspawn@web.service to be no, found yes",
        f"touch {DROPINS}/60-limits.conf",
        "systemctl daemon-reload",
    ),
    Fault(
        "test_the_guests_credentials_are_on_the_host[lab1-web]",
        "the names of the credentials to be",
        f"install -m 0600 /dev/null {OWN}/credentials/stray",
        f"rm {OWN}/credentials/stray",
    ),
    Fault(
        "test_the_guest_is_restarted_as_wanted[lab1-web]",
        "to be always, found no",
        f"cp {DROPINS}/60-limits.conf /run/saved;"
        f"sed -i s/^Restart=.*/Restart=no/ {DROPINS}/60-limits.conf; systemctl daemon-reload",
        f"cp /run/saved {DROPINS}/60-limits.conf; systemctl daemon-reload",
    ),
    Fault(
        "test_the_guest_says_that_it_is_running[lab1-web]",
        "to be running, found degraded: sick.service failed",
        f"{INSIDE} --unit=sick false || :",
        "systemctl -M web reset-failed sick.service",
    ),
    Fault(
        "test_the_guest_has_its_hostname[lab1-web]",
        "its hostname to be web, found other",
        f"{INSIDE} --collect hostname other",
        f"{INSIDE} --collect hostname web",
    ),
    Fault(
        "test_the_guest_lets_its_keys_in[lab1-web]",
        "authorized_keys to be 0600 root:root, found 0644 root:root",
        f"{INSIDE} --collect chmod 0644 /root/.ssh/authorized_keys",
        f"{INSIDE} --collect chmod 0600 /root/.ssh/authorized_keys",
    ),
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: fault.check.partition("[")[0].removeprefix("test_")
)
def test_a_fault_is_told_by_its_check_and_no_other(deployed: dict[str, Host], fault: Fault):
    host = deployed["lab1"]
    host.succeed(fault.make)
    try:
        verdict = verify("-k", "lab1")
    finally:
        host.succeed(fault.mend)
    assert list(verdict.failed) == [fault.check], verdict.output
    sentence = verdict.failed[fault.check]
    assert sentence.startswith("host lab1"), sentence
    assert fault.says in sentence


@pytest.mark.parametrize(
    ("setting", "name"),
    [("Nice=5", "nice.conf"), ("DeviceAllow=block-* rwm", "50-ostree.conf")],
    ids=["harmless", "ours has its name"],
)
def test_a_drop_in_of_the_template_that_changes_no_wall_is_accepted(
    deployed: dict[str, Host], setting: str, name: str
):
    host = deployed["lab1"]
    make, mend = shared_dropin("/etc/systemd/system/systemd-nspawn@.service.d", setting, name)
    host.succeed(make)
    try:
        verdict = verify("-k", "lab1")
    finally:
        host.succeed(mend)
    assert verdict.code == 0, verdict.output


def inventory_with(guest: str, directory: Path) -> str:
    """Write the lab's own inventory, less lab2, with more fields for the guest."""
    path = directory / "inventory.py"
    lab = (ROOT / "inventories/lab.py").read_text()
    path.write_text(f'{lab}\n{guest}\n_DATA["guests"][0].update(guest)\nlab = lab[:1]\n')
    return str(path)


def test_all_that_a_guest_can_be_given_is_checked(deployed: dict[str, Host], tmp_path: Path):
    # A guest keeps the id of its first start, whatever its inventory says later.
    machine_id = deployed["lab1"].succeed(f"cat {OWN}/current/etc/machine-id").strip()
    inventory = inventory_with(RICH.replace("MACHINE_ID", machine_id), tmp_path)
    succeed("-y", inventory=inventory)
    verdict = verify(inventory=inventory)
    assert verdict.code == 0, verdict.output
    assert "a secret" not in verdict.output
    # Of the guest, all was looked at but what only other kinds of guests have.
    skipped = set(re.findall(r"(?m)^SKIPPED .*?: (.*)$", verdict.output))
    assert skipped == {
        "no guest is to be absent",
        "with isolation private-users it does not",
        "the inventory names no bridge",
        "no quota is wanted",
        "it is on none",
    }


def test_a_guest_beside_its_host_is_checked_from_inside(deployed: dict[str, Host], tmp_path: Path):
    inventory = inventory_with('guest = {"sysroot": "shared", "isolation": "none"}', tmp_path)
    succeed("-y", inventory=inventory)
    verdict = verify(inventory=inventory)
    assert verdict.code == 0, verdict.output
    stateroot = "/sysroot/ostree/deploy/web"
    faults = {
        "test_no_user_of_the_host_can_reach_into_the_guest[lab1-web]": (
            f"chmod 0755 {stateroot}",
            f"chmod 0700 {stateroot}",
        ),
        "test_a_guest_without_isolation_sees_where_it_was_deployed[lab1-web]": (
            "systemd-run --machine=web --wait --quiet sh -c 'umount $0; rm $0' /run/ostree-booted",
            "systemctl restart systemd-nspawn@web; systemctl -M web is-system-running --wait",
        ),
    }
    for check, (make, mend) in faults.items():
        deployed["lab1"].succeed(make)
        try:
            assert list(verify(inventory=inventory).failed) == [check]
        finally:
            deployed["lab1"].succeed(mend)


def test_without_an_inventory_it_says_how():
    done = subprocess.run(
        PYTEST,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "pytest --pyargs pyinfra_nspawn.verify --nspawn-inventory inventories/mine.py" in done.stdout
    assert "failed" not in done.stdout


def test_a_host_that_is_not_there_costs_one_attempt(tmp_path: Path):
    inventory = tmp_path / "gone.py"
    data = {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "guests": [{"name": "web"}]}
    inventory.write_text(f"hosts = [('gone', {data}), ('@local', {data})]\n")
    verdict = verify(inventory=inventory)
    assert verdict.code == 1
    assert set(verdict.failed.values()) == {verdict.failed["test_machines_target_is_enabled[gone]"]}
    assert "no connection over SSH" in verdict.failed["test_machines_target_is_enabled[gone]"]
    assert "@local is not reached over SSH" in verdict.output


def test_an_inventory_that_is_wrong_is_one_line(tmp_path: Path):
    inventory = tmp_path / "wrong.py"
    inventory.write_text("hosts = [('lab1', {'guests': [{'name': 'web', 'sauce': 'host'}]})]\n")
    verdict = verify(inventory=inventory)
    assert verdict.code == 4
    assert "inventory of lab1: guests.0.sauce: no such field" in verdict.output
    assert "Traceback" not in verdict.output
