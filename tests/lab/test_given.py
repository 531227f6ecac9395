"""What an inventory gives to a guest is there, whatever its commit has; or the run says what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import deploy, succeed
from tests.lab.guest import inside

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")


def test_two_guests_of_a_commit_with_a_baked_identity_have_their_own(fresh: dict[str, Host]):
    for name, host in fresh.items():
        baked = host.spec.generation.baked_ref
        guests = [
            {"name": "one", "source": baked},
            {"name": "two", "source": baked, "hostname": "second", "machine_id": "ab" * 16},
        ]
        succeed("-y", "--limit", name, guests=guests)
        assert inside(host, "one", "hostname") == "one\n"
        assert inside(host, "two", "hostname; cat /etc/machine-id") == f"second\n{'ab' * 16}\n"
        own = inside(host, "one", "cat /etc/machine-id").strip()
        assert own != host.succeed(f"ostree cat {baked} /usr/etc/machine-id").strip()
        assert own != "ab" * 16
        succeed(
            "-y", "--limit", name, guests=[{**guest, "state": "absent", "purge": True} for guest in guests]
        )


SRV = "mkdir -p /var/srv/www; echo served >/var/srv/www/index"


def test_a_bind_to_a_path_that_is_a_link_in_ostree_trees(fresh: dict[str, Host]):
    for host in fresh.values():
        host.succeed(SRV)
    succeed(guests=[{"name": "web", "binds": [{"source": "/srv/www"}]}])
    for host in fresh.values():
        assert inside(host, "web", "cat /srv/www/index") == "served\n"


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ core"
CORE = """
useradd --create-home --home-dir /var/home/core --shell /bin/sh core 2>/dev/null || :
"""


def test_a_file_for_a_user_of_the_guest_has_its_parents_owned_rightly(fresh: dict[str, Host]):
    succeed(guests=[{"name": "web", "binds": [{"source": "/srv/www"}]}])
    for host in fresh.values():
        inside(host, "web", CORE)
    file = {"content": f"{KEY}\n", "mode": "0600", "user": "core", "group": "core"}
    files = {"/home/core/.ssh/authorized_keys": file}
    succeed(guests=[{"name": "web", "files": files}])
    for host in fresh.values():
        shown = inside(host, "web", "cd /var/home/core; stat -c '%n %U %a' .ssh .ssh/authorized_keys")
        assert shown == ".ssh core 700\n.ssh/authorized_keys core 600\n"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/etc/of-nobody", {"content": "x", "user": "nosuchuser"}),
        ("/etc/mtab/below", {"content": "x"}),
    ],
    ids=["an owner that it does not have", "below what is no directory"],
)
def test_a_file_that_was_not_written_fails_the_run_and_is_named(
    fresh: dict[str, Host], path: str, file: dict
):
    for host in fresh.values():
        host.run("systemctl stop systemd-nspawn@web")
    for _ in range(2):  # the guest runs then, and is not taken for what was asked for
        outcome = deploy("-y", guests=[{"name": "web", "files": {path: file}}])
        assert outcome.code == 1
        for name in fresh:
            said = [line for line in outcome.lines(name) if line.startswith("web: ")]
            assert any(path in line for line in said), outcome.stderr
    succeed(guests=[{"name": "web"}])
    assert succeed(guests=[{"name": "web"}]).json["results"]["totals"]["success"] == 0
