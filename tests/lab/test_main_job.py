"""The main job, end to end over SSH on both hosts: from nothing to guests that come back by themselves.

The tests of this file tell one story, in order, upon hosts that are fresh at its beginning.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import BOTH, Outcome, deploy, pyinfra, remote_commands, succeed
from tests.lab.guest import ssh_command
from tests.lab.paths import RUN
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

KEY = RUN / "key.pub"
WEB = {"name": "web"}
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic -p MainPID -p NRestarts"
MACHINE = "machinectl show web -p Timestamp -p Leader"
BOOT = """
ostree admin status
cd /boot
find . -type f | sort | xargs sha256sum
find . -printf '%p %m %s %T@ %l\n' | sort
"""
FLEET = "pyinfra_nspawn.deploys.fleet.converge"
GUESTS, HOST = "Guests | Each guest", "Host | Fit for guests"
STEPS = ("make the OSTree sysroot", "pull commit", "deploy commit", "point ", "guest web: write", "enable ")

# How the last column of the summary begins.
MARKS = ("due: ", "done: ", "nothing to do")

before: dict[str, str] = {}


def web(**fields: object) -> list[object]:
    return [{**WEB, "authorized_keys": [KEY.read_text().strip()], **fields}]


def in_guest(host: Host, command: str, guest: str = "web") -> str:
    return host.succeed(f"systemd-run -M {guest} --pipe --wait --quiet --collect sh -c '{command}'")


def running(host: Host, guest: str = "web") -> bool:
    return host.run(f"systemctl -M {guest} is-system-running").stdout.strip() == "running"


def summary(outcome: Outcome, host: str) -> list[str]:
    """Return the rows of the summary about a host's guests: `GUEST: RESULT`."""
    rows = [line.split(maxsplit=2) for line in outcome.stderr.splitlines()]
    found = [row for row in rows if len(row) == 3 and row[0] == host]
    return [
        f"{guest}: {rest[rest.index(mark) :]}" for _, guest, rest in found for mark in MARKS if mark in rest
    ]


def test_a_dry_run_tells_what_will_be_done_and_does_nothing(fresh: dict[str, Host]):
    outcome = succeed("--dry", "--json")
    planned = {item["name"]: item for item in outcome.json["plan"]}
    assert sorted(planned[GUESTS]["hosts_with_change"]) == BOTH, planned
    for name, host in fresh.items():
        said = "\n".join(outcome.lines(name))
        assert "make the OSTree sysroot /var/lib/pyinfra-nspawn/web with stateroot web" in said
        assert "start guest web" in said
        assert "wait up to 120 s until guest web is running" in said
        assert "web: due: stateroot, pull, deploy, current, definition, unit, await" in summary(outcome, name)
        host.fail("test -e /var/lib/pyinfra-nspawn")
        host.fail("test -e /etc/sysctl.d/60-pyinfra-nspawn.conf")
        before[name] = host.succeed(BOOT)


def test_the_first_run_makes_the_guests(fresh: dict[str, Host]):
    fresh["lab1"].succeed("systemctl disable machines.target")
    planned = succeed("--dry")
    outcome = succeed()
    assert sorted(outcome.hosts("success")[GUESTS]) == sorted(outcome.hosts("success")[HOST]) == BOTH
    for name in BOTH:
        # Whatever is said once a run has begun was said by the dry run, in the same order.
        said = [line for line in planned.lines(name) if line.startswith((*STEPS, "wait", "set", "enable"))]
        assert [line for line in outcome.lines(name) if line in said] == said
        assert len(said) >= len(STEPS) + 2
    for host in fresh.values():
        assert running(host)
        assert host.succeed("systemctl is-enabled systemd-nspawn@web machines.target") == "enabled\nenabled\n"
        assert int(host.succeed("cat /proc/sys/fs/inotify/max_user_instances")) >= 128 + 16


def test_the_host_boots_as_before(fresh: dict[str, Host]):
    for name, host in fresh.items():
        assert host.succeed(BOOT) == before[name]


def test_the_guest_shares_its_objects_with_the_host(fresh: dict[str, Host]):
    for name, host in fresh.items():
        own = "/var/lib/pyinfra-nspawn/web"
        inodes = "find objects -name '*.file' -printf '%i\\n' | sort"
        host_inodes = set(host.succeed(f"cd /ostree/repo && {inodes}").split())
        guest_inodes = set(host.succeed(f"cd {own}/ostree/repo && {inodes}").split())
        assert guest_inodes <= host_inodes
        assert len(guest_inodes) > 1000
        # du counts an inode once: what it lists second is what comes on top of the first.
        cost = host.succeed(f"du -s -B1 /ostree/repo {own}").splitlines()[1].split()[0]
        print(f"{name}: the guest costs {int(cost):,} bytes beside the host's objects")
        assert int(cost) < 64 * 2**20


def test_guest_root_is_no_root_on_the_host(fresh: dict[str, Host]):
    for host in fresh.values():
        inside, outside, count = in_guest(host, "cat /proc/self/uid_map").split()
        assert inside == "0"
        assert int(outside) >= 524288
        assert int(count) == 65536
        assert host.succeed("stat -c %u /var/lib/pyinfra-nspawn/web/ostree/deploy/web/var/lib").strip() == "0"
        assert (
            host.succeed("stat -c %a /var/lib/pyinfra-nspawn /var/lib/pyinfra-nspawn/web").split()
            == ["700"] * 2
        )


def test_the_second_run_does_nothing(fresh: dict[str, Host]):
    started = {name: host.succeed(f"{STARTED}; {MACHINE}") for name, host in fresh.items()}
    outcome = succeed()
    assert outcome.json["results"]["failed_hosts"] == []
    assert outcome.json["results"]["totals"]["success"] == 0
    for name, idle in outcome.hosts("no_change").items():
        assert sorted(idle) == BOTH, name
    assert sorted(outcome.hosts("no_change")) == [GUESTS, HOST]
    assert started == {name: host.succeed(f"{STARTED}; {MACHINE}") for name, host in fresh.items()}


def test_a_run_that_asks_for_confirmation_does_nothing_either():
    plan = succeed("--dry", "--json").json["plan"]
    assert plan
    assert not any(item["hosts_with_change"] for item in plan)


def test_an_edit_shows_its_changed_lines_and_nothing_else():
    outcome = succeed("--dry", "--diff", guests=web(hostname="elsewhere"))
    for name in BOTH:
        changed = [line for line in outcome.lines(name) if re.match(r"[-+] ", line)]
        assert any(line.startswith("+ ") and "--hostname=elsewhere" in line for line in changed)
        assert any(line.startswith("- ") and "--hostname=web" in line for line in changed)
        others = [line for line in changed if "--hostname" not in line]
        assert len(others) == 2, changed
        assert all("PYINFRA_NSPAWN_DEFINITION" in line for line in others)
        files = [line for line in outcome.lines(name) if line.startswith("/etc/") and line.endswith(":")]
        assert len(files) == 1


def test_limits_are_applied_without_a_restart(fresh: dict[str, Host]):
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    outcome = succeed(guests=web(limits={"tasks_max": 4000}))
    assert sorted(outcome.hosts("success")[GUESTS]) == BOTH
    for name, host in fresh.items():
        assert host.succeed(STARTED) == started[name]
        shown = host.succeed("systemctl show systemd-nspawn@web -p TasksMax -p NeedDaemonReload")
        assert sorted(shown.split()) == [
            "NeedDaemonReload=no",
            "TasksMax=4000",
        ]


def test_a_pending_daemon_reload_is_done_and_nothing_else(fresh: dict[str, Host]):
    succeed()
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    for host in fresh.values():
        host.succeed("touch /etc/systemd/system/systemd-nspawn@web.service.d/60-limits.conf")
    assert succeed().json["results"]["totals"]["success"] == 2
    for name, host in fresh.items():
        shown = host.succeed("systemctl show systemd-nspawn@web -p NeedDaemonReload")
        assert shown == "NeedDaemonReload=no\n"
        assert host.succeed(STARTED) == started[name]


def test_a_changed_definition_is_reported_when_asked(fresh: dict[str, Host]):
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    outcome = succeed(guests=web(environment={"NEW": "1"}, on_change="report"))
    for name, host in fresh.items():
        assert any("it runs with another definition than it has now" in line for line in outcome.lines(name))
        assert host.succeed(STARTED) == started[name]


def test_a_way_in(fresh: dict[str, Host]):
    """Keys, masks, files, credentials, environment, hostname and machine id, after one restart."""
    nasty = "100% of $HOME, \"quoted\", 'single', back\\slash #;"
    outcome = succeed(
        guests=web(
            hostname="www",
            environment={"NASTY": nasty},
            mask_units=["systemd-timesyncd.service"],
            files={"/etc/demo.conf": {"content": f"{nasty}\n", "mode": "0600"}, "/opt/a/b": "c"},
            credentials={"demo": "a secret"},
            binds=[{"source": "/usr/share", "target": "/var/shared"}],
        )
    )
    assert sorted(outcome.hosts("success")[GUESTS]) == BOTH
    for host in fresh.values():
        assert in_guest(host, "hostname") == "www\n"
        assert f"NASTY={nasty}" in in_guest(host, 'tr "\\0" "\\n" </proc/1/environ').splitlines()
        assert in_guest(host, "systemctl is-enabled systemd-timesyncd || :").strip() == "masked-runtime"
        assert in_guest(host, "cat /etc/demo.conf; stat -c %a /etc/demo.conf") == f"{nasty}\n600\n"
        assert in_guest(host, "cat /opt/a/b") == "c"
        assert in_guest(
            host, "test -d /var/shared/doc && ! touch /var/shared/x 2>/dev/null && echo read-only"
        )
        assert in_guest(host, "cat /run/host/credentials/demo") == "a secret"
        assert in_guest(host, "stat -c %a:%U /root/.ssh/authorized_keys") == "600:root\n"
        assert re.fullmatch(r"[0-9a-f]{32}\n", in_guest(host, "cat /etc/machine-id"))


def test_the_guest_is_reached_over_ssh_through_its_host(fresh: dict[str, Host]):
    for host in fresh.values():
        over_ssh = ssh_command(host, "web", "hostname")
        done = subprocess.run(over_ssh, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "www\n", done.stderr


def test_a_machine_id_of_the_inventory(fresh: dict[str, Host]):
    wanted = "0123456789abcdef0123456789abcdef"
    succeed(guests=[*web(), {"name": "db", "machine_id": wanted}])
    for host in fresh.values():
        assert in_guest(host, "cat /etc/machine-id", guest="db") == f"{wanted}\n"


def test_stopped_is_stopped_and_stays_stopped(fresh: dict[str, Host]):
    stopped = {
        "name": "db",
        "machine_id": "0123456789abcdef0123456789abcdef",
        "state": "stopped",
        "autostart": False,
    }
    succeed(guests=[*web(), stopped])
    assert succeed(guests=[*web(), stopped]).json["results"]["totals"]["success"] == 0
    for host in fresh.values():
        assert host.run("systemctl is-active systemd-nspawn@db").stdout == "inactive\n"
        assert host.run("systemctl is-enabled systemd-nspawn@db").stdout == "disabled\n"
        assert running(host)


def test_host_and_guests_in_one_deploy(fresh: dict[str, Host]):
    def converge() -> Outcome:
        outcome = pyinfra("-y", "--json", FLEET, guests=[*web(), {"name": "whole"}])
        assert outcome.code == 0, outcome.stderr
        return outcome

    for host in fresh.values():
        host.succeed("systemctl disable machines.target")
    made = converge().json["results"]["operations"]
    assert [item["name"] for item in made] == [f"Fleet | {HOST}", f"Fleet | {GUESTS}"]
    assert [sorted(item["success"]) for item in made] == [BOTH, BOTH]
    for host in fresh.values():
        assert running(host, "whole")
        assert host.succeed("systemctl is-enabled machines.target") == "enabled\n"
    asked = {name: remote_commands(host) for name, host in fresh.items()}
    again = converge().json["results"]["operations"]
    assert [(item["success"], sorted(item["no_change"])) for item in again] == [([], BOTH), ([], BOTH)]
    assert {name: remote_commands(host) - asked[name] for name, host in fresh.items()} == dict.fromkeys(
        BOTH, 2
    )


@pytest.mark.parametrize("count", [1, 5])
def test_a_run_with_nothing_to_do_asks_at_most_four_commands_of_a_host(fresh: dict[str, Host], count: int):
    guests = [*web(), *({"name": f"web-{number}"} for number in range(1, count))]
    succeed(guests=guests)
    asked = {name: remote_commands(host) for name, host in fresh.items()}
    assert succeed(guests=guests).json["results"]["totals"]["success"] == 0
    for name, host in fresh.items():
        assert remote_commands(host) - asked[name] <= 4


def test_the_guests_come_back_with_their_host(fresh: dict[str, Host]):
    def come_back(host: Host) -> None:
        host.reboot()
        for guest in ("web", "web-1", "web-4"):
            host.wait_until_succeeds(f"systemctl -M {guest} is-system-running", timeout=60)

    on_each(fresh.values(), come_back)
    guests = [*web(), *({"name": f"web-{number}"} for number in range(1, 5))]
    assert succeed(guests=guests).json["results"]["totals"]["success"] == 0


def test_a_ref_of_a_remote(fresh: dict[str, Host]):
    outcome = pyinfra("--json", "fact", "pyinfra_nspawn.facts.ostree.Sysroots")
    (seen,) = outcome.json.values()

    def pull(host: Host) -> None:
        ref = f"lab:{host.spec.generation.remote_ref}"
        assert ref not in seen[host.name]["host"]["refs"]
        guests = [{"name": "far", "source": ref}]
        done = pyinfra("--limit", host.name, "-y", "--json", "deploys/guest.py", guests=guests)
        assert done.code == 0, done.stderr
        assert running(host, "far")
        host.succeed(f"ostree rev-parse {ref}")

    on_each(fresh.values(), pull)


def test_a_source_that_moved_on_is_reported_and_nothing_is_done(fresh: dict[str, Host]):
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}

    def look(host: Host) -> None:
        guests = web(source=host.spec.generation.next_ref)
        outcome = pyinfra("--limit", host.name, "-y", "--json", "deploys/guest.py", guests=guests)
        assert outcome.code == 0, outcome.stderr
        assert outcome.json["results"]["totals"]["success"] == 0
        behind = "web: it boots commit"
        assert any(line.startswith(behind) for line in outcome.lines(host.name))

    on_each(fresh.values(), look)
    assert started == {name: host.succeed(STARTED) for name, host in fresh.items()}


def test_a_degraded_guest_is_reported_with_its_failed_units(fresh: dict[str, Host]):
    broken = {"/etc/systemd/system/broken.service": "[Service]\nType=oneshot\nExecStart=false\n"}
    wants = "/etc/systemd/system/multi-user.target.wants"
    link = {"tmpfiles.extra": f"L+ {wants}/broken.service - - - - ../broken.service\n"}
    guests = [{"name": "sick", "files": broken, "credentials": link, "on_degraded": "report"}]
    succeed(guests=guests)
    on_each(fresh.values(), lambda host: host.succeed("systemctl restart systemd-nspawn@sick"))
    outcome = succeed(guests=guests)
    for name in BOTH:
        assert any(line.startswith("sick: broken.service failed") for line in outcome.lines(name))


def test_trouble_on_one_host_stays_on_that_host(fresh: dict[str, Host]):
    """A drop-in of somebody else, whatever its name, is refused there; the other host is done."""
    foreign = "/etc/systemd/system/systemd-nspawn@new.service.d"
    fresh["lab1"].succeed(f"mkdir -p {foreign}; printf '[Service]\\nNice=5\\n' >{foreign}/10-service.conf")
    outcome = deploy(guests=[{"name": "new"}])
    assert outcome.code != 0
    assert outcome.json["results"]["failed_hosts"] == ["lab1"]
    assert any("10-service.conf is a foreign drop-in" in line for line in outcome.lines("lab1"))
    assert running(fresh["lab2"], "new")
    assert "Nice=5" in fresh["lab1"].succeed(f"cat {foreign}/10-service.conf")
    fresh["lab1"].fail("systemctl is-active systemd-nspawn@new")


def test_bad_input_is_one_line_before_any_command():
    outcome = deploy(guests=[{"name": "web", "sauce": "host"}])
    assert outcome.code != 0
    assert "inventory of lab1: guests.0.sauce: no such field" in outcome.stderr.replace("lab2", "lab1")
    assert "Traceback" not in outcome.stderr
    assert "Beginning operation run" not in outcome.stderr
