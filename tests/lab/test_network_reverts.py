"""A new network that does not work, or that nobody confirms: the host has its old one again, without help.

Each kind of trouble is met by two hosts at once: one whose controller lives, and is told; and one whose
controller is killed as soon as the change is under way, when nobody but the host can notice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.conftest import BOTH, pyinfra
from tests.lab.network_change import ARMED_AND_ASKED, CHECKED, NETWORK, OVER, PENDING, is_as_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.lab import Host
    from tests.lab.conftest import Outcome
    from tests.lab.lan import Lan

WINDOW = 8
"""Seconds that a host waits for the confirmation."""
BACK_SECONDS = 90
# Less what differs with time: lifetimes, who brought a route.
STATE = """
cd /etc/systemd/network && sha256sum *; ls /run/systemd/network
ip -j link | tr '{' '\\n' | grep -o '"ifname":"[^"]*"\\|"mtu":[0-9]*\\|"master":"[^"]*"'
ip -4 -o address show scope global | sed 's/valid_lft.*//; s/ dynamic//; s/ metric [0-9]*//'
ip route show default | sed 's/ proto.*//; s/ metric.*//'
ls /run/pyinfra-nspawn | grep -v network-verdict
systemctl list-units --all --plain --no-legend 'pyinfra-nspawn-network*'
"""
# A second link, which leads nowhere.
SPARE = "[NetDev]\nName=spare\nKind=veth\n\n[Peer]\nName=nowhere\n"
ASKING = "[Match]\nName=spare\n\n[Network]\nDHCP=ipv4\n"
SILENT = "[Match]\nName=nowhere\n\n[Network]\nLinkLocalAddressing=no\n"


def change(host: Host, bridge: dict[str, Any], kill_after: int = 0) -> Outcome:
    """Run the deploy upon a host."""
    settings = {"bridge": {"uplinks": ["eth0"], "confirm_seconds": WINDOW, **bridge}}
    words = ("-y", "--json", "--limit", host.name, NETWORK)
    return pyinfra(*words, kill_after=kill_after, nspawn_host=settings, guests=[])


@pytest.fixture(scope="module")
def before(fresh: dict[str, Host], network: Lan) -> dict[str, str]:
    """What both hosts are like before, with a second link that leads nowhere."""
    assert network.holder
    for host in fresh.values():
        host.succeed(
            f"cd /etc/systemd/network; echo '{SPARE}' >20-spare.netdev; echo '{ASKING}' >20-spare.network; "
            f"echo '{SILENT}' >20-nowhere.network; networkctl reload"
        )
        host.wait_until_succeeds("networkctl --no-pager list spare | grep -q configuring")
    return {name: host.succeed(STATE) for name, host in fresh.items()}


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble.

    + bridge: what is asked for, of a host
    + reason: why the host restores its network, as a controller is told that lives
    + around: what is out of order from the beginning until both hosts have restored their networks
    + meanwhile: what is wrong with a host from when the change is tried
    """

    bridge: Callable[[Host], dict[str, Any]] = lambda _: {}
    reason: str = ""
    around: Callable[[Lan], AbstractContextManager[Any]] = lambda _: nullcontext()
    meanwhile: Callable[[Lan, Host], AbstractContextManager[Any]] = lambda *_: nullcontext()


@contextmanager
def unserved(network: Lan) -> Iterator[None]:
    network.stop_serving()
    try:
        yield
    finally:
        network.serve()


def cut_off(network: Lan, host: Host) -> AbstractContextManager[None]:
    return network.cut(host.spec)


@contextmanager
def manager_killed(network: Lan, host: Host) -> Iterator[None]:
    """Kill networkd once it works with the new network, which nobody can confirm."""
    with network.cut(host.spec):
        host.wait_until_succeeds(CHECKED)
        host.succeed("systemctl kill --signal=KILL systemd-networkd")
        yield


@contextmanager
def power_cut(_: Lan, host: Host) -> Iterator[None]:
    host.crash()
    yield


def static(gateway: str) -> Callable[[Host], dict[str, Any]]:
    return lambda host: {
        "dhcp": "no",
        "addresses": [f"{lan.address_of(host.name)}/{lan.NETWORK.prefixlen}"],
        "gateways": [gateway],
    }


ELSEWHERE = {"dhcp": "no", "addresses": ["198.51.100.77/24"], "gateways": ["198.51.100.1"]}
UNCONFIRMED = f"the controller did not reach the host within {WINDOW} s"
TROUBLES = {
    "wrong-uplink": Trouble(lambda _: {"uplinks": ["spare"]}, "br0 got no address"),
    "wrong-address": Trouble(lambda _: ELSEWHERE, "the gateway 198.51.100.1 does not answer"),
    "other-address": Trouble(
        lambda _: {"dhcp": "no", "addresses": [f"{lan.STATIC}/27"], "gateways": [lan.ROUTER]}, UNCONFIRMED
    ),
    "no-gateway": Trouble(static(lan.POOL[1]), f"the gateway {lan.POOL[1]} does not answer"),
    "no-dhcp-server": Trouble(reason="br0 got no address", around=unserved),
    "cut-off": Trouble(reason=UNCONFIRMED, meanwhile=cut_off),
    "manager-killed": Trouble(reason=UNCONFIRMED, meanwhile=manager_killed),
    "power-cut": Trouble(reason="it did not keep the new one", meanwhile=power_cut),
}


def run(host: Host, trouble: Trouble, network: Lan, *, killed: bool) -> Outcome:
    """Run into the trouble, and wait until the host has its network back."""
    with ThreadPoolExecutor() as beside:
        running = beside.submit(change, host, trouble.bridge(host), ARMED_AND_ASKED if killed else 0)
        host.wait_until_succeeds(PENDING)
        with trouble.meanwhile(network, host):
            host.wait_until_succeeds(OVER, BACK_SECONDS)
        return running.result()


def is_back(host: Host, before: str) -> None:
    """Wait until the host is as before, and reached as before."""
    is_as_before(host, STATE, before, BACK_SECONDS)
    assert pyinfra("--limit", host.name, "exec", "--", "true").code == 0


@pytest.mark.parametrize(
    ("name", "lives"), [(name, BOTH[number % 2]) for number, name in enumerate(TROUBLES)]
)
def test_a_host_restores_its_network(name: str, lives: str, fresh: dict[str, Host], network: Lan, before):
    trouble = TROUBLES[name]
    (killed,) = set(BOTH) - {lives}
    with trouble.around(network), ThreadPoolExecutor() as both:
        alone = both.submit(run, fresh[killed], trouble, network, killed=True)
        told = both.submit(run, fresh[lives], trouble, network, killed=False).result()
        alone.result()
        for host in fresh.values():
            assert f"{lan.address_of(host.name)}/" in host.succeed("ip -4 -o address show dev eth0")
    assert told.code == 1
    assert f"the host restored its network: {trouble.reason}" in "\n".join(told.lines(lives))
    for host in fresh.values():
        is_back(host, before[host.name])


STALE = "systemctl stop pyinfra-nspawn-network-revert.timer pyinfra-nspawn-network-trial.service"


@pytest.mark.parametrize("decided", ["pending", "kept"])
def test_a_change_whose_units_died_is_finished_or_undone_by_the_next_run(
    decided: str, fresh: dict[str, Host], before
):
    """Decided or not, nothing of it is left, and the next run makes the bridge."""
    host = fresh["lab1"]
    with ThreadPoolExecutor() as beside:
        running = beside.submit(change, host, {}, ARMED_AND_ASKED)
        host.wait_until_succeeds(CHECKED)
        host.succeed(
            f"{STALE}; cd /run/pyinfra-nspawn/network; [ {decided} = pending ] || mv pending {decided}"
        )
        running.result()
    outcome = change(host, {})
    assert outcome.code == 0, outcome.stderr
    assert "finish or undo the change of the network that was cut off" in "\n".join(outcome.lines("lab1"))
    assert f"{lan.address_of('lab1')}/" in host.succeed("ip -4 -o address show dev br0")
    assert change(host, {}).hosts("no_change") == {"Network | Bridge": ["lab1"]}
    assert change(host, {"state": "absent"}).code == 0
    is_back(host, before["lab1"])


def test_no_host_is_tried_after_one_that_failed(fresh: dict[str, Host], before):
    """One at a time is the default: the second host waits for the first, and is left alone then."""
    settings = {"bridge": {"uplinks": ["spare"], "confirm_seconds": WINDOW}}
    outcome = pyinfra("-y", "--json", NETWORK, nspawn_host=settings, guests=[])
    assert outcome.code == 1
    said = {name: "\n".join(outcome.lines(name)) for name in BOTH}
    (tried,) = (name for name in BOTH if "the host restored its network: " in said[name])
    (spared,) = set(BOTH) - {tried}
    assert f"not tried: the network of {tried} could not be changed" in said[spared]
    for name, host in fresh.items():
        is_back(host, before[name])


def test_one_host_s_trouble_is_its_own(fresh: dict[str, Host], network: Lan, before):
    """The other host is done, and exit code, summary and JSON say which. It is the last test here."""
    settings = {"bridge": {"uplinks": ["eth0"], "confirm_seconds": WINDOW}}
    cut, whole = fresh["lab1"], fresh["lab2"]
    with ThreadPoolExecutor() as beside:
        running = beside.submit(
            pyinfra,
            *("-y", "--json", NETWORK),
            nspawn_host=settings,
            guests=[],
            network_keep_going=True,
        )
        cut.wait_until_succeeds(PENDING)
        with network.cut(cut.spec):
            cut.wait_until_succeeds(OVER, BACK_SECONDS)
        outcome = running.result()
    assert outcome.code == 1
    assert outcome.hosts("error") == {"Network | Bridge": ["lab1"]}
    assert outcome.hosts("success") == {"Network | Bridge": ["lab2"]}
    rows = {line.split()[0]: line for line in outcome.stderr.splitlines() if line.startswith("lab")}
    assert f"the host restored its network: {UNCONFIRMED}" in rows["lab1"]
    assert "done: network" in rows["lab2"]
    is_back(cut, before["lab1"])
    assert f"{lan.address_of('lab2')}/" in whole.succeed("ip -4 -o address show dev br0")
