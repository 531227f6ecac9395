"""A guest that deploys for itself boots that where the inventory says so; else it is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import succeed
from tests.lab.guest import inside
from tests.lab.shell import retry
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

GUEST: dict[str, Any] = {"name": "web", "isolation": "none"}
OWNER = {**GUEST, "source": "guest"}
RELEASE = "cat /usr/lib/lab-release"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic"
UPGRADE = """
set -e
mkdir -p /var/tmp/tree/usr/lib && echo mine >/var/tmp/tree/usr/lib/lab-release
commit=$(ostree admin status | sed -n 's/^[*] web \\([0-9a-f]*\\).*/\\1/p')
unshare --mount sh -ec "
    mount -o remount,rw /sysroot
    ostree commit --repo=/sysroot/ostree/repo --branch=mine --tree=ref=$commit --tree=dir=/var/tmp/tree
"
ostree admin deploy --os=web mine
"""


def test_its_own_commit_is_told_and_not_booted(fresh: dict[str, Host]):
    succeed(guests=[GUEST])
    before = {name: inside(host, "web", RELEASE) for name, host in fresh.items()}

    def upgrade(host: Host) -> None:
        inside(host, "web", UPGRADE)
        host.succeed("systemctl restart systemd-nspawn@web")

    on_each(fresh.values(), upgrade)
    outcome = succeed(guests=[GUEST])
    assert outcome.json["results"]["totals"]["success"] == 0
    for name, host in fresh.items():
        assert inside(host, "web", RELEASE) == before[name]
        assert any(line.startswith("web: it has deployed commit") for line in outcome.lines(name)), (
            outcome.stderr
        )


def test_where_it_owns_its_commits_it_boots_them(fresh: dict[str, Host]):
    succeed(guests=[OWNER])
    assert succeed(guests=[OWNER]).json["results"]["totals"]["success"] == 0
    for host in fresh.values():
        assert inside(host, "web", RELEASE) == "mine\n"


def test_a_reboot_of_its_own_is_enough(fresh: dict[str, Host]):
    upgrade = (
        UPGRADE.replace("echo mine", "echo again").replace("=mine", "=again").replace("web mine", "web again")
    )

    def reboot(host: Host) -> None:
        inside(host, "web", upgrade)
        host.succeed("systemd-run --machine=web --quiet systemctl reboot")
        retry(lambda: inside(host, "web", RELEASE) == "again\n", 60, "the guest boots what it deployed")

    on_each(fresh.values(), reboot)
    assert succeed(guests=[OWNER]).json["results"]["totals"]["success"] == 0
