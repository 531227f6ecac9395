"""A guest whose root is its host's, above a layer that is thrown away: no accident reaches the store."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import deploy, remote_commands, succeed
from tests.lab.store import check, deviations, tree

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

OVERLAY = {"name": "web", "isolation": "overlay"}
PRIVATE = {"name": "web"}
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value"
KEEP = "echo kept >/etc/kept; echo kept >/var/kept; chown 1000:1000 /var/kept"
KEPT = "cat /etc/kept; stat -c '%n %u:%g' /etc/kept /var/kept"
ACCIDENTS = """
chattr -i / 2>/dev/null
mount -o remount,rw /
printf x 1<>/usr/bin/true
for file in /usr/bin/*; do [ -f "$file" ] && printf x 1<>"$file"; done 2>/dev/null
chmod u+s /usr/bin/env
rm -rf /usr/share /usr/lib/systemd/system /ostree /sysroot/ostree
echo accident >/usr/accident
"""


def inside(host: Host, script: str) -> str:
    door = "systemd-run -M web --pipe --wait --quiet --collect"
    return host.succeed(f"{door} sh -c {shlex.quote(script)}", timeout=120)


def test_it_runs_and_the_second_run_does_nothing(fresh: dict[str, Host]):
    planned = deploy("--dry", "--json", guests=[OVERLAY])
    assert planned.code == 0, planned.stderr
    succeed(guests=[OVERLAY])
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    asked = {name: remote_commands(host) for name, host in fresh.items()}
    assert succeed(guests=[OVERLAY]).json["results"]["totals"]["success"] == 0
    for name, host in fresh.items():
        assert remote_commands(host) - asked[name] <= 4
        assert host.succeed(STARTED) == started[name]
        assert host.succeed("systemctl -M web is-system-running") == "running\n"
        assert inside(host, "cat /proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_its_accidents_stay_in_a_layer_that_is_thrown_away(fresh: dict[str, Host]):
    before = {name: (tree(host), deviations(host)) for name, host in fresh.items()}
    for name, host in fresh.items():
        inside(host, KEEP)
        inside(host, f"({ACCIDENTS}) >/dev/null 2>&1; [ -e /usr/accident ]")
        check(host)
        assert (tree(host), deviations(host)) == before[name]
        # It has no program left that would shut it down.
        host.succeed("systemctl kill --signal=KILL systemd-nspawn@web; systemctl restart systemd-nspawn@web")
        host.wait_until_succeeds("systemctl -M web is-system-running")
        assert inside(host, "! test -e /usr/accident; cat /etc/kept /var/kept") == "kept\nkept\n"


@pytest.mark.parametrize("guest", [PRIVATE, OVERLAY], ids=lambda guest: guest.get("isolation", "private"))
def test_it_moves_between_isolations_with_its_etc_and_var(fresh: dict[str, Host], guest: dict[str, str]):
    succeed(guests=[guest])
    for host in fresh.values():
        assert inside(host, KEPT) == "kept\n/etc/kept 0:0\n/var/kept 1000:1000\n"
    assert succeed(guests=[guest]).json["results"]["totals"]["success"] == 0
