"""What `status` says of a host's network, and of what became of a guest's upgrades."""

import io
from dataclasses import replace
from datetime import UTC, datetime

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.network import Link, Network
from pyinfra_nspawn.facts.nspawn import Backup, Upgraded
from pyinfra_nspawn.reports.status import LinkStatus, Status, status_of
from pyinfra_nspawn.reports.visit import Visit
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import NEW, OLD, THIRD, current, guest, own, running, snapshot

BRIDGED = Network(
    {
        "br0": Link("br0", kind="bridge", addresses=("192.0.2.10/24",), managed=True),
        "enp1s0": Link("enp1s0", master="br0", managed=True),
        "vb-web": Link("vb-web", kind="veth", master="br0"),
        "enp2s0": Link("enp2s0", addresses=("198.51.100.1/24",)),
    },
    uplinks=("br0",),
)


def status(network: object) -> Status:
    return status_of([Visit("one", HostSettings(), (), snapshot(network=network))])


def test_a_host_s_bridges_and_the_links_of_its_default_routes():
    found = status(BRIDGED)
    assert found.hosts[0].links == (
        LinkStatus(
            name="br0",
            manager="systemd-networkd",
            addresses=("192.0.2.10/24",),
            ports=("enp1s0", "vb-web"),
        ),
    )
    shown = io.StringIO()
    found.show(shown)
    assert "br0 192.0.2.10/24 with enp1s0, vb-web" in shown.getvalue()


def test_networkmanager_s_links():
    link = Link("enp1s0", addresses=("192.0.2.10/24",), manager_state="connected", profile="a")
    found = status(Network({"enp1s0": link}, uplinks=("enp1s0",))).hosts[0].links
    assert [(one.name, one.manager) for one in found] == [("enp1s0", "NetworkManager")]


def test_a_network_that_could_not_be_read():
    assert status(Unreadable("it has no ip")).hosts[0].links == ()


def test_what_a_guest_boots_next_and_what_became_of_its_upgrades():
    wanted = guest(source="local", pinned=(THIRD,))
    seen = replace(
        running(wanted),
        fallback=current(THIRD),
        refused_commits={NEW: "x.service failed"},
        upgraded=Upgraded(1767225600, 4.31, OLD),
        backups=(Backup("20251231T000000Z.tar", 1), Backup("20260102T120000Z.tar.age", 1)),
    )
    visit = Visit("one", HostSettings(), (wanted,), snapshot(seen, own(OLD, THIRD)))
    (found,) = status_of([visit]).hosts[0].guests
    assert (found.commit, found.next, found.fallback, found.pinned) == (OLD, OLD, THIRD, (THIRD,))
    assert (found.behind, found.refused, found.refused_problem) == (True, NEW, "x.service failed")
    assert (found.upgraded, found.down_seconds) == ("2026-01-01T00:00:00Z", 4.31)
    assert found.backup == "2026-01-02T12:00:00Z"
    shown = io.StringIO()
    status_of([visit]).show(shown, now=datetime(2026, 1, 3, tzinfo=UTC))
    for text in (
        "backed up 12 h ago",
        f"refused {NEW[:12]}: x.service failed",
        f"falls back to {THIRD[:12]}",
        f"pinned: {THIRD[:12]}",
        "upgraded 2 d ago, down 4.3 s",
    ):
        assert text in shown.getvalue()
