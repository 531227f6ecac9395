"""Parsing of what was tested in guests."""

import pytest

from pyinfra_nspawn.facts.base import Unreadable, parse_answer
from pyinfra_nspawn.facts.k3s import TRIES, K3sProbe, K3sProbes, Route, Try, parse_k3s
from tests.unit.answers import answer, part, value

REST = """swap /dev/zram0
space 4000000 3000000
route eth0 00000000 00000000 0101A8C0
route eth0 00D0A8C0 00FFFFFF 00000000
route eth0 00012A0A 00FFFFFF 0200A8C0
route6 lo 00000000000000000000000000000001 80 00000000000000000000000000000000
route6 eth0 20010db8000000000000000000000000 40 00000000000000000000000000000000
route6 eth0 00000000000000000000000000000000 00 fe800000000000000000000000000001
done
"""


def tried(**changed: str) -> str:
    new = {key.replace("_", "-"): text for key, text in changed.items()}
    return "".join(f"{new.get(name, f'met {name}')}\n" for name in TRIES)


def read(text: str, code: int = 0, clock: str = "yes\n") -> K3sProbes:
    return parse_k3s(parse_answer(answer(part("clock", clock), part("k3s web", text, code))))


def test_what_was_tried_and_measured():
    found = read(tried(bpf="unmet bpf a filter has no effect", vxlan="untried vxlan it has no ip") + REST)
    assert found.clock_synchronized is True
    probe = found.guests["web"]
    assert isinstance(probe, K3sProbe), probe
    assert list(probe.tries) == list(TRIES)
    assert probe.tries["bpf"] == Try(False, "a filter has no effect")
    assert probe.tries["vxlan"] == Try(None, "it has no ip")
    assert probe.tries["overlay"] == Try(True)
    assert (probe.size_bytes, probe.free_bytes) == (4000000 * 1024, 3000000 * 1024)
    assert probe.swaps == ("/dev/zram0",)
    assert probe.routes == (
        Route("eth0", "192.168.208.0/24"),
        Route("lo", "::1/128"),
        Route("eth0", "2001:db8::/64"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        tried(),
        tried() + REST.replace("done\n", ""),
        tried(bpf="") + REST,
        tried() + "strange\n" + REST,
        tried() + REST.replace("4000000", "much"),
        tried() + REST.replace("00D0A8C0", "nothing"),
        tried() + REST.replace("space 4000000 3000000\n", ""),
        tried() + "swap /dev/x\n" * 100 + REST,
        tried() + "route eth0 00D0A8C0 00FFFFFF 00000000\n" * 1000 + REST,
    ],
)
def test_what_is_incomplete_is_unreadable(text: str):
    assert isinstance(read(text).guests["web"], Unreadable)


def test_what_failed_is_unreadable():
    found = read("Failed to connect to bus", code=1).guests["web"]
    assert found == Unreadable("Failed to connect to bus")


def test_a_guest_spoils_no_other():
    both = answer(part("k3s bad", b"\xff\x1b[31m"), part("k3s web", tried() + REST))
    found = parse_k3s(parse_answer(both)).guests
    assert isinstance(found["bad"], Unreadable)
    assert isinstance(found["web"], K3sProbe)


def test_no_control_sequence_is_passed_on():
    probe = read(tried(bpf="unmet bpf \x1b[31mred") + REST).guests["web"]
    assert isinstance(probe, K3sProbe)
    assert probe.tries["bpf"].said == "?[31mred"


@pytest.mark.parametrize(("clock", "expected"), [("no\n", False), ("", None), ("perhaps\n", None)])
def test_the_clock(clock: str, expected: bool | None):
    assert read(tried() + REST, clock=clock).clock_synchronized is expected


def test_nothing_was_asked_for():
    assert parse_k3s(parse_answer(answer(value("user", "0")))) == K3sProbes()
