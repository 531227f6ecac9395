"""The article, step by step, done by our deploys: a stateroot beside the host's, without isolation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")


def guests(source: str = "host") -> list[dict[str, Any]]:
    return [{"name": "guest", "sysroot": "shared", "isolation": "none", "source": source}]


def deployments(text: str) -> list[str]:
    """Read `ostree admin status`: `* STATEROOT ID` or `STATEROOT ID` of each deployment, in order."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if line[:2] == "* ":
            found.append(" ".join(words[:3]))
        elif line[:2] == "  " and line[2:3] != " ":
            found.append(" ".join(words[:2]))
    return found


def test_create_the_ostree_deployment(fresh: dict[str, Host]):
    """The host has an update that it has not booted; the guest gets that commit."""
    for host in fresh.values():
        host.succeed(f"ostree admin deploy --os=host {host.spec.generation.next_ref}")
    before = {name: deployments(host.succeed("ostree admin status")) for name, host in fresh.items()}
    commits = {name: found[0].split()[1].partition(".")[0] for name, found in before.items()}

    def create(host: Host) -> None:
        commit, found = commits[host.name], before[host.name]
        assert [line.split()[-2] for line in found] == ["host", "host"]
        succeed("-y", "--limit", host.name, guests=guests(commit))
        after = deployments(host.succeed("ostree admin status"))
        assert after[0] == found[0]
        assert f"guest {commit}.0" in after
        assert [line for line in after if not line.startswith("guest ")] == found

    on_each(fresh.values(), create)


def test_enable_and_start_the_service(fresh: dict[str, Host]):
    for host in fresh.values():
        assert (
            host.succeed("systemctl is-enabled systemd-nspawn@guest machines.target") == "enabled\nenabled\n"
        )
        listed = json.loads(host.succeed("machinectl list --output=json"))
        (machine,) = [item for item in listed if item["machine"] == "guest"]
        assert (machine["class"], machine["service"], machine["os"]) == (
            "container",
            "systemd-nspawn",
            "debian",
        )


def test_machinectl_shell(fresh: dict[str, Host]):
    """It takes a terminal."""
    for host in fresh.values():
        said = host.succeed("script -qec 'machinectl -q shell guest /bin/hostname' /dev/null </dev/null")
        assert said.rstrip().endswith("guest")


def test_status_in_the_guest_marks_its_own_deployment(fresh: dict[str, Host]):
    for host in fresh.values():
        outside = deployments(host.succeed("ostree admin status"))
        within = deployments(inside(host, "guest", "ostree admin status"))
        assert [line.removeprefix("* ") for line in within] == [line.removeprefix("* ") for line in outside]
        assert [line.split()[1] for line in outside if line.startswith("* ")] == ["host"]
        assert [line.split()[1] for line in within if line.startswith("* ")] == ["guest"]
        assert inside(host, "guest", "cat /usr/lib/lab-release") == f"{host.spec.generation.major}.2\n"
        assert inside(host, "guest", "stat -c '%s %F' /run/ostree-booted") == "0 regular empty file\n"


def test_the_host_boots_its_own(fresh: dict[str, Host]):
    """Its update has an /etc that was made before the guest: it takes one more run, as the first one said."""

    def boot(host: Host) -> None:
        host.reboot()
        booted = [line for line in deployments(host.succeed("ostree admin status")) if line.startswith("* ")]
        assert [line.split()[1] for line in booted] == ["host"]

    on_each(fresh.values(), boot)
    succeed("-y", guests=guests())
    for host in fresh.values():
        assert host.succeed("systemctl -M guest is-system-running") == "running\n"
    assert succeed("-y", "--json", guests=guests()).json["results"]["totals"]["success"] == 0


def test_a_guest_that_makes_itself_what_the_host_boots_is_told(fresh: dict[str, Host]):
    """Without isolation it can: `ostree admin deploy` in it is one in the host's own sysroot."""
    for host in fresh.values():
        inside(host, "guest", f"ostree admin deploy --os=guest {host.spec.generation.ref}")
        assert deployments(host.succeed("ostree admin status"))[0].startswith("guest ")
    outcome = succeed("-y", guests=guests())
    for name, host in fresh.items():
        assert any("the host boots stateroot guest next, not its own" in line for line in outcome.lines(name))
        found = [line.removeprefix("* ") for line in deployments(host.succeed("ostree admin status"))]
        own = next(index for index, line in enumerate(found) if line.startswith("host "))
        host.succeed(f"ostree admin set-default {own}")
