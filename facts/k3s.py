"""The preconditions of k3s, as they were tested in the guests that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import GarbledError, Record, Unreadable, not_understood, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyinfra_nspawn.facts.base import Part

TRIES = (
    *("real-root", "kernel-log", "keyring", "bpf", "controllers", "overlay", "propagation"),
    *("conntrack-table", "conntrack", "forwarding", "bridge-filter", "bridge", "vxlan", "filter"),
)
"""Names of the tests in a guest's answer."""
_WORDS = ("space", "swap", "route", "route6", "service", "files", "started", "node", "done")
_MOST_ROUTES, _MOST_SWAPS = 512, 64


@dataclass(frozen=True)
class Try(Record):
    """The result of one test.

    + met: whether it succeeded; None where it could not run
    + said: the reason otherwise
    """

    met: bool | None
    said: str = ""


@dataclass(frozen=True)
class Route(Record):
    """A network that a guest is connected to, without a gateway.

    + link: the name of its link
    + network: as `192.0.2.0/24`
    """

    link: str
    network: str


@dataclass(frozen=True)
class Service(Record):
    """The service of k3s in a guest, and its node.

    + load_state, unit_file_state, active_state: as systemctl(1) shows them
    + files: the sha256 of its files, one after another
    + started: the sha256 of the binary that was started last, and that of its files then; empty before
    + node: the line of `kubectl get node`, or why there is none
    + doubt: why the node is not ready although its cluster may call it so; empty without a reason
    """

    load_state: str
    unit_file_state: str
    active_state: str
    files: str = ""
    started: str = ""
    node: str = ""
    doubt: str = ""

    @property
    def state(self) -> str:
        """The state of the node and the version of k3s, or why there is none."""
        words = self.node.split(" ")
        if self.doubt:
            return self.doubt
        if len(words) == len(("name", "status", "roles", "age", "version")):
            return f"{words[1]}, {words[-1]}"
        return self.node if self.active_state == "active" else f"k3s.service {self.active_state}"

    @property
    def is_cordoned(self) -> bool:
        """Whether the cluster says that the node takes no pods."""
        return "SchedulingDisabled" in self.node

    @property
    def is_ready(self) -> bool:
        """Whether the cluster says that the node is ready, and nothing speaks against it."""
        words = self.node.split(" ")
        return not self.doubt and len(words) > 1 and words[1].split(",")[0] == "Ready"


@dataclass(frozen=True)
class K3sProbe(Record):
    """The results of one guest.

    + tries: by name, see `TRIES`
    + free_bytes, size_bytes: of the file system of its /var
    + swaps: the kernel's swap devices
    + routes: the networks of its links
    + service: of k3s; None where it has none
    """

    tries: dict[str, Try]
    free_bytes: int
    size_bytes: int
    swaps: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    service: Service | None = None


@dataclass(frozen=True)
class K3sProbes(Record):
    """The results of the guests of a host.

    + guests: by name; a guest that did not run, or was not asked, is not among them
    + clock_synchronized: whether the host's clock is; None where that is not known
    """

    guests: dict[str, K3sProbe | Unreadable] = field(default_factory=dict)
    clock_synchronized: bool | None = None


def parse_k3s(parts: Iterable[Part]) -> K3sProbes:
    """Return the results in the parts of an answer; an unreadable guest leaves the others readable."""
    guests: dict[str, K3sProbe | Unreadable] = {}
    clock = None
    for part in parts:
        if part.words[0] == "k3s":
            guests[part.words[1]] = _readable(part)
        elif part.words == ("clock",) and part.code == 0 and part.text in _YES_NO:
            clock = _YES_NO[part.text]
    return K3sProbes(guests, clock)


_YES_NO = {"yes": True, "no": False}


def _readable(part: Part) -> K3sProbe | Unreadable:
    try:
        if part.code != 0:
            return Unreadable(part.complaint)
        return _probe(part.lines)
    except (ValueError, IndexError, KeyError) as error:
        return not_understood(error)


def _probe(lines: Iterable[str]) -> K3sProbe:
    """Read the lines that a guest printed. Whoever is root there may have it print anything."""
    tries: dict[str, Try] = {}
    found: dict[str, list[str]] = {word: [] for word in _WORDS}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in _MET:
            name, _, said = rest.partition(" ")
            tries[name] = Try(_MET[word], one_line(said, 120))
        elif word in found:
            found[word].append(rest)
        else:
            raise GarbledError(f"unexpected line: {line[:120]!r}")
    if set(tries) != set(TRIES) or not found["done"]:
        raise GarbledError("not everything was tested")
    if len(found["swap"]) > _MOST_SWAPS or len(found["route"]) + len(found["route6"]) > _MOST_ROUTES:
        raise GarbledError("too many routes or swap devices")
    size, free = (int(word) * 1024 for word in found["space"][0].split(" "))
    return K3sProbe(
        tries={name: tries[name] for name in TRIES},
        free_bytes=free,
        size_bytes=size,
        swaps=tuple(one_line(name, 120) for name in found["swap"]),
        routes=(*_routes(found["route"], _ipv4), *_routes(found["route6"], _ipv6)),
        service=_service(found) if found["service"] else None,
    )


def _service(found: dict[str, list[str]]) -> Service:
    shown = dict(line.partition("=")[::2] for line in found["service"])
    return Service(
        load_state=one_line(shown["LoadState"], 40),
        unit_file_state=one_line(shown["UnitFileState"], 40),
        active_state=one_line(shown["ActiveState"], 40),
        files=one_line(next(iter(found["files"]), ""), 80),
        started=one_line(next(iter(found["started"]), ""), 150),
        node=one_line(next(iter(found["node"]), ""), 200),
        doubt=one_line(next(iter(found["node"][1:]), ""), 200),
    )


_MET = {"met": True, "unmet": False, "untried": None}


def _routes(lines: Iterable[str], read: Callable[[str, str], IPv4Network | IPv6Network]) -> Iterable[Route]:
    for line in lines:
        link, destination, mask, gateway = line.split(" ")
        network = read(destination, mask)
        if network.prefixlen and not gateway.strip("0"):
            yield Route(one_line(link, 40), str(network))


def _ipv4(destination: str, mask: str) -> IPv4Network:
    """Read addresses of /proc/net/route: hexadecimal, in the byte order of the machine (proc(5)).

    All architectures that k3s runs on are little-endian.
    """
    address, netmask = (IPv4Address(bytes.fromhex(word)[::-1]) for word in (destination, mask))
    return IPv4Network(f"{address}/{netmask}", strict=False)


def _ipv6(destination: str, length: str) -> IPv6Network:
    return IPv6Network(f"{IPv6Address(bytes.fromhex(destination))}/{int(length, 16)}", strict=False)
