"""A guest of every kind, by where it is deployed and what isolates it: runs, accidents, its removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import deploy, remote_commands, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.lab.store import check, inodes, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Host

KINDS = [
    ("private", "overlay"),
    ("private", "none"),
    ("shared", "private-users"),
    ("shared", "overlay"),
    ("shared", "none"),
]
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value"
# It exits 0 whatever it warns of, and speaks of other units too.
WARNINGS = "systemd-analyze verify --man=no systemd-nspawn@web.service 2>&1 | grep systemd-nspawn@web || :"
# Which of the two boot lists is in use changes with each deployment, and with it paths and versions.
HOST = """
ostree admin status
cat /boot/loader/entries/*.conf | sed 's/boot[.][01]/boot/; /^version /d; /^aboot/d'
ls /ostree/deploy /boot/ostree; find /boot/ostree -type f | sort | xargs sha256sum
ostree refs | grep -v '^ostree/'
"""
KEEP = "echo kept >/etc/kept; echo kept >/var/kept; chown 1000:1000 /var/kept"
ACCIDENTS = """
printf x 1<>/usr/bin/true
for file in /usr/bin/*; do [ -f "$file" ] && printf x 1<>"$file"; done 2>/dev/null
chmod u+s /usr/bin/env
rm -rf /usr/share /usr/lib/systemd/system /ostree/repo/objects /ostree/deploy/* /sysroot/ostree/* /boot/*
echo accident >/usr/accident
"""
# What a layer above the deployment stops too.
REMOUNTED = f"chattr -i / 2>/dev/null; mount -o remount,rw /; {ACCIDENTS}"


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def guest(fresh: dict[str, Host], request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A guest of that kind; when its tests have ended, it is removed, and the host is as before."""
    before = {name: host.succeed(HOST) for name, host in fresh.items()}
    sysroot, isolation = request.param
    yield {"name": "web", "sysroot": sysroot, "isolation": isolation}
    gone = [{"name": "web", "state": "absent", "purge": True}]
    assert succeed(guests=gone).json["results"]["totals"]["success"] == 2
    for name, host in fresh.items():
        assert host.succeed(HOST) == before[name]
        host.fail("test -e /var/lib/pyinfra-nspawn/web || test -e /sysroot/ostree/deploy/web")
    assert succeed(guests=gone).json["results"]["totals"]["success"] == 0


def test_it_runs_and_the_second_run_does_nothing(fresh: dict[str, Host], guest: dict[str, Any]):
    before = {name: host.succeed(HOST) for name, host in fresh.items()}
    planned = deploy("--dry", "--json", guests=[guest])
    assert planned.code == 0, planned.stderr
    assert {name: host.succeed(HOST) for name, host in fresh.items()} == before
    asked = {name: remote_commands(host) for name, host in fresh.items()}
    succeed(guests=[guest])
    for name, host in fresh.items():
        assert remote_commands(host) - asked[name] <= 8
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    asked = {name: remote_commands(host) for name, host in fresh.items()}
    assert succeed(guests=[guest]).json["results"]["totals"]["success"] == 0
    for name, host in fresh.items():
        assert remote_commands(host) - asked[name] <= 4
        assert host.succeed(STARTED) == started[name]
        assert host.succeed("systemctl -M web is-system-running") == "running\n"
        assert host.succeed(WARNINGS) == ""
        is_root = inside(host, "web", "cat /proc/self/uid_map").split() == ["0", "0", "4294967295"]
        assert is_root == (guest["isolation"] != "private-users")
        host.fail("setpriv --reuid=65534 --regid=65534 --clear-groups ls /sysroot/ostree/deploy/web")


def test_its_accidents_reach_nothing_of_the_host(fresh: dict[str, Host], guest: dict[str, Any]):
    accidents = REMOUNTED if guest["isolation"] == "overlay" else ACCIDENTS

    def survive(host: Host) -> None:
        before = tree(host), inodes(host)
        inside(host, "web", KEEP)
        inside(host, "web", f"({accidents}) >/dev/null 2>&1 || :")
        check(host)
        assert (tree(host), inodes(host)) == before
        # It may have no program left that would shut it down: it is killed, and its unit starts it again.
        started = host.succeed(STARTED).strip()
        host.succeed("systemctl kill --signal=KILL systemd-nspawn@web")
        host.wait_until_succeeds(f"test $({STARTED}) != {started} && systemctl -M web is-system-running")
        assert inside(host, "web", "! test -e /usr/accident; cat /etc/kept /var/kept") == "kept\nkept\n"

    on_each(fresh.values(), survive)


def test_it_comes_back_with_its_host(fresh: dict[str, Host], guest: dict[str, Any]):
    def come_back(host: Host) -> None:
        booted = host.succeed("ostree admin status | sed -n 's/^[*] //p'")
        host.reboot()
        assert host.succeed("ostree admin status | sed -n 's/^[*] //p'") == booted
        host.wait_until_succeeds("systemctl -M web is-system-running")

    on_each(fresh.values(), come_back)
    assert succeed(guests=[guest]).json["results"]["totals"]["success"] == 0
