"""A fleet from before state on a host had a version: the next run carries it over, and loses nothing.

`files/state-1` holds the definitions as revision 9b31773 wrote them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import deploy, succeed
from tests.lab.guest import inside
from tests.lab.paths import FILES

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

OWN: dict[str, Any] = {
    "name": "own",
    "hostname": "old",
    "credentials": {"token": "old"},
    "binds": [{"source": "/usr/share", "target": "/var/shared"}],
    "limits": {"tasks_max": 4000},
    "environment": {"A": "b c"},
}
BESIDE = {"name": "beside", "sysroot": "shared", "isolation": "none"}
GUESTS = [OWN, BESIDE]
STATE = "/var/lib/pyinfra-nspawn"
KEEP = "echo kept >/etc/kept; echo kept >/var/kept"
KEPT = "cat /etc/kept /var/kept"
STARTED = "systemctl show systemd-nspawn@own systemd-nspawn@beside -p ExecMainStartTimestampMonotonic"


def write_back(host: Host) -> None:
    """Give the host the definitions that the old revision wrote, and have its guests run with them."""
    for path in sorted((FILES / "state-1").rglob("*.*")):
        if path.is_file():
            target = f"/{path.relative_to(FILES / 'state-1')}"
            host.succeed(
                f"mkdir -p {target.rpartition('/')[0]}; cat >{target} <<'EOF'\n{path.read_text()}EOF"
            )
    host.succeed(f"rm -f {STATE}/.version; systemctl daemon-reload")
    host.succeed("systemctl restart systemd-nspawn@own systemd-nspawn@beside")
    for name in ("own", "beside"):
        host.wait_until_succeeds(f"systemctl -M {name} is-system-running")


def test_it_is_carried_over_with_all_that_guests_had(fresh: dict[str, Host]):
    succeed(guests=GUESTS)
    for host in fresh.values():
        for name in ("own", "beside"):
            inside(host, name, KEEP)
        write_back(host)
    planned = deploy("--dry", "--json", guests=GUESTS)
    assert planned.code == 0, planned.stderr
    succeed(guests=GUESTS)
    for host in fresh.values():
        host.fail("ls /etc/systemd/nspawn/*.nspawn")
        assert host.succeed(f"cat {STATE}/.version") == "1\n"
        for name in ("own", "beside"):
            assert host.succeed(f"systemctl -M {name} is-system-running") == "running\n"
            assert inside(host, name, KEPT) == "kept\nkept\n"
        assert inside(host, "own", "hostname; tr '\\0' '\\n' </proc/1/environ | grep ^A=") == "old\nA=b c\n"
    before = {name: host.succeed(STARTED) for name, host in fresh.items()}
    assert succeed(guests=GUESTS).json["results"]["totals"]["success"] == 0
    assert {name: host.succeed(STARTED) for name, host in fresh.items()} == before


def test_an_older_controller_refuses_newer_state(fresh: dict[str, Host]):
    for host in fresh.values():
        host.succeed(f"echo 2 >{STATE}/.version")
    outcome = deploy("-y", guests=[{**OWN, "hostname": "new"}, BESIDE])
    assert outcome.code == 1
    for name, host in fresh.items():
        assert any("newer version of pyinfra-nspawn" in line for line in outcome.lines(name)), outcome.stderr
        assert inside(host, "own", "hostname") == "old\n"
        host.succeed(f"echo 1 >{STATE}/.version")
