"""A network as administrators have it: a switch, a router with DHCP and DNS, and hosts plugged in.

It is a network namespace, which lives as long as its holder, a process that does nothing. This machine has a
link into it, as the controller. Addresses are of 203.0.113.0/24, TEST-NET-3 (RFC 5737): no real network has
them.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from tests.lab.paths import INSTANCE, RUN, SUFFIX
from tests.lab.shell import LabError, retry, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.fleet import HostSpec

#: Eight instances have networks of their own.
NETWORK = IPv4Network(f"203.0.113.{32 * (INSTANCE % 8)}/27")
_ADDRESSES = list(NETWORK.hosts())
#: Of 2001:db8::/32 (RFC 3849).
NETWORK6 = IPv6Network(f"2001:db8:0:{INSTANCE % 8}::/64")
ROUTER, CONTROLLER = str(_ADDRESSES[0]), str(_ADDRESSES[1])
#: Free for whoever asks for an address.
POOL = (str(_ADDRESSES[9]), str(_ADDRESSES[28]))
#: Free for whoever takes one without asking.
STATIC = str(_ADDRESSES[7])
#: An address beyond the router, and its DNS server: TEST-NET-1.
OUTSIDE, NAMESERVER = "192.0.2.1", "192.0.2.53"

SWITCH = "switch"
_OWN_LINK = f"nspawn-lan{SUFFIX}"
_DIRECTORY = RUN / "lan"
_HOLDER = _DIRECTORY / "holder"


class Lan:
    """The network while it is there.

    + holder: the process whose namespace it is
    """

    def __init__(self, holder: int) -> None:
        self.holder = holder
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, command: str) -> str:
        """Run a shell command line in the network's namespace; it must succeed."""
        return run(*_enter(self.holder), "sh", "-ec", command)

    def serve(self) -> None:
        """Start the DHCP and DNS server, which knows the hosts that are plugged in by then."""
        self._start(
            "server",
            *("--interface=lo", f"--address=/lan.test/{OUTSIDE}", "--dhcp-authoritative", "--no-ping"),
            f"--dhcp-range={POOL[0]},{POOL[1]},{NETWORK.netmask},10m",
            *(f"--dhcp-option=option:router,{ROUTER}", f"--dhcp-option=option:dns-server,{NAMESERVER}"),
            *(f"--dhcp-host={mac},{address_of(path.name)}" for path, mac in _plugged()),
            f"--dhcp-leasefile={_DIRECTORY / 'leases'}",
        )

    def advertise(self) -> None:
        """Have the router offer IPv6 too, by advertisements alone; the controller has an address of it."""
        self.run(
            f"sysctl -qw net.ipv6.conf.all.forwarding=1; ip address add {NETWORK6[1]}/64 dev {SWITCH} nodad"
        )
        run("ip", "address", "replace", f"{NETWORK6[2]}/64", "dev", _OWN_LINK, "nodad")
        ranged = f"--dhcp-range={NETWORK6[0]},ra-only"
        self._start("advertiser", "--port=0", "--enable-ra", f"--ra-param={SWITCH},4", ranged)

    def _start(self, name: str, *options: str) -> None:
        """Start a dnsmasq, which dies with this process, and wait until it serves."""
        pid_file = _DIRECTORY / name
        pid_file.unlink(missing_ok=True)
        common = (
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--log-facility=-",
        )
        self._servers[name] = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", *_enter(self.holder), "dnsmasq", *common),
                *(f"--interface={SWITCH}", "--bind-interfaces", f"--pid-file={pid_file}", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        retry(pid_file.exists, 5, f"dnsmasq serves as {name}")

    def stop_serving(self) -> None:
        """End the DHCP and DNS server."""
        server = self._servers.pop("server")
        server.kill()
        server.wait()

    def restart_serving(self) -> None:
        """Start the server again, with what is reserved now and without any lease."""
        self.stop_serving()
        (_DIRECTORY / "leases").unlink(missing_ok=True)
        self.serve()

    def close(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.kill()
            server.wait()

    def leases(self) -> str:
        """Return what the DHCP server has given to whom."""
        return (_DIRECTORY / "leases").read_text()

    def plug(self, spec: HostSpec, mac: str) -> None:
        """Plug the host's uplink in, now and whenever it boots; its address is reserved for this MAC."""
        (_DIRECTORY / "hosts").mkdir(exist_ok=True)
        (_DIRECTORY / "hosts" / spec.name).write_text(mac)
        plug(spec)

    @contextmanager
    def cut(self, spec: HostSpec) -> Iterator[None]:
        """Keep the controller and a host apart; the host still has its router."""
        links = ("controller", spec.outer_interface)
        try:
            for link in links:
                self.run(f"ip link set dev {link} type bridge_slave isolated on")
            yield
        finally:
            self.run(f"ip link set dev {spec.outer_interface} type bridge_slave isolated off")


def address_of(name: str) -> str:
    """Return the address that the network reserves for the host of that name."""
    return str(_ADDRESSES[2 + int(name.removeprefix("lab"))])


def address6_of(mac: str) -> IPv6Address:
    """Return the address that a link with this MAC makes of the router's advertisements (RFC 4291)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    last = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return NETWORK6[int.from_bytes(last, "big")]


def has(address: str) -> bool:
    """Tell whether an address is of the network."""
    return ip_address(address) in NETWORK


def is_plugged(name: str) -> bool:
    """Tell whether the host is in the network, or will be when it boots."""
    return (_DIRECTORY / "hosts" / name).exists()


def plug(spec: HostSpec) -> None:
    """Move the outer end of the host's uplink to the switch, if that is where it belongs."""
    if not is_plugged(spec.name):
        return
    holder = int(_HOLDER.read_text())
    link = spec.outer_interface
    with suppress(LabError):  # it is there already
        run("ip", "link", "set", link, "netns", str(holder))
    run(*_enter(holder), "ip", "link", "set", link, "master", SWITCH, "up")


@contextmanager
def lan() -> Iterator[Lan]:
    """Yield the network with its router and server; nothing of it is left."""
    _DIRECTORY.mkdir(parents=True)
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
    ) as holder:
        found = Lan(holder.pid)
        try:
            retry(lambda: _is_apart(holder.pid) or None, 5, "the network has a namespace")
            _HOLDER.write_text(str(holder.pid))
            _wire(found)
            yield found
        finally:
            found.close()
            holder.kill()
            run("rm", "-rf", _DIRECTORY)


def _wire(found: Lan) -> None:
    """Make the switch, the router behind it, and this machine's link into it."""
    found.run(
        f"ip link set lo up; sysctl -qw net.ipv4.ip_forward=1; ip link add {SWITCH} type bridge; "
        f"ip address add {ROUTER}/{NETWORK.prefixlen} dev {SWITCH}; ip link set {SWITCH} up; "
        f"ip address add {OUTSIDE}/32 dev lo; ip address add {NAMESERVER}/32 dev lo"
    )
    with suppress(LabError):
        run("ip", "link", "delete", _OWN_LINK)
    run(*("ip", "link", "add", _OWN_LINK, "type", "veth", "peer", "controller", "netns", str(found.holder)))
    run("ip", "address", "add", f"{CONTROLLER}/{NETWORK.prefixlen}", "dev", _OWN_LINK)
    run("ip", "link", "set", _OWN_LINK, "up")
    found.run(f"ip link set controller master {SWITCH} up")


def _enter(holder: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{holder}/ns/net")


def _is_apart(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def _plugged() -> list[tuple[Path, str]]:
    return [(path, path.read_text()) for path in (_DIRECTORY / "hosts").glob("*")]
