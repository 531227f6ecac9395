"""The preconditions of k3s, judged by what was tested."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import TRIES, K3sProbe, K3sProbes, Route, Try
from pyinfra_nspawn.facts.network import Link, Network
from pyinfra_nspawn.facts.snapshot import Snapshot
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preconditions import PRECONDITIONS
from pyinfra_nspawn.plans.ready import k3s_planned, k3s_ready, rows
from pyinfra_nspawn.specs.k3s import MODULES, SYSCTLS
from tests.unit.seen import HOST, OLD, guest, own, running, snapshot

GIB = 2**30
PROBE = K3sProbe(
    tries={name: Try(True) for name in TRIES},
    free_bytes=20 * GIB,
    size_bytes=40 * GIB,
    routes=(
        Route("host0", "192.0.2.0/24"),
        Route("cni0", "10.42.0.0/24"),
        Route("flannel.1", "10.42.1.0/24"),
    ),
)
READY = replace(HOST, modules=MODULES, sysctls={**SYSCTLS, "net.netfilter.nf_conntrack_max": "262144"})
NODE = guest(k3s=True)
PATHS = {path: path for path in ("/dev/kmsg", "/sys/module", "/usr/lib/modules")}


def seen(probe: object = PROBE, host: object = READY, clock: bool | None = True, **facts: object) -> Snapshot:
    probes = K3sProbes({"web": probe} if probe else {}, clock)
    return replace(snapshot(seen=running(NODE), host_facts=host, **facts), k3s=probes)


def planned(probe: object = PROBE, wanted: object = NODE, **more: object) -> Plan:
    return plan_guest(wanted, seen(probe, **more), (k3s_ready,))


def unmet(found: Plan) -> dict[str, str]:
    return {finding.field.removeprefix("k3s."): finding.seen for finding in found.findings}


NOTES = ("conntrack-table", "conntrack")


def failing(name: str, said: str = "it does not work", **changed: object) -> K3sProbe:
    return replace(PROBE, tries={**PROBE.tries, name: Try(False, said)}, **changed)


def test_all_is_met():
    assert planned() == Plan("web")
    found = rows(NODE, seen())
    assert [row.precondition for row in found] == list(PRECONDITIONS)
    assert {row.state for row in found} == {"met"}


def test_each_has_a_source_and_a_hint():
    for precondition in PRECONDITIONS:
        assert precondition.source.startswith("https://")
        assert precondition.hint.endswith((".", "lacks."))
        assert len(precondition.hint) < 110
        assert set(precondition.after) <= {other.name for other in PRECONDITIONS}


@pytest.mark.parametrize("name", [name for name in TRIES if name != "real-root"])
def test_what_fails_is_named_alone(name: str):
    found = planned(failing(name))
    assert unmet(found) == {name: "it does not work"}
    (only,) = found.notes if name in NOTES else found.errors
    assert only.hint
    assert f"not ready for k3s: {name}: it does not work" in str(only)


def test_a_user_namespace_explains_all_that_fails_in_it():
    tries = {name: Try(False, "Operation not permitted") for name in TRIES}
    probe = replace(PROBE, tries={**tries, "real-root": Try(False, "its root is user 65536 of the host")})
    assert unmet(planned(probe)) == {"real-root": "its root is user 65536 of the host"}


@pytest.mark.parametrize(
    ("module", "name"),
    [("overlay", "overlay"), ("vxlan", "vxlan"), ("nf_conntrack", "conntrack"), ("nf_tables", "filter")],
)
def test_a_missing_module_explains_what_fails_without_it(module: str, name: str):
    host = replace(READY, modules=tuple(item for item in MODULES if item != module))
    assert unmet(planned(failing(name), host=host)) == {"modules": f"without {module}"}


def test_a_sysctl():
    host = replace(READY, sysctls={**READY.sysctls, "kernel.panic": "0"})
    assert unmet(planned(host=host)) == {"sysctls": "kernel.panic is 0, not 10"}


@pytest.mark.parametrize(("most", "expected"), [("65536", {"connections"}), ("262144", set()), ("?", set())])
def test_the_table_of_connections(most: str, expected: set[str]):
    host = replace(READY, sysctls={**SYSCTLS, "net.netfilter.nf_conntrack_max": most})
    assert set(unmet(planned(host=host))) == expected


def test_sysctls_of_the_host_s_own_network_are_not_the_guest_s():
    host = replace(READY, sysctls={**READY.sysctls, "net.bridge.bridge-nf-call-iptables": "1"})
    assert planned(host=host) == Plan("web")


@pytest.mark.parametrize(("free", "size"), [(GIB - 1, 2 * GIB), (5 * GIB, 100 * GIB)])
def test_too_little_space(free: int, size: int):
    assert set(unmet(planned(replace(PROBE, free_bytes=free, size_bytes=size)))) == {"space"}


def test_swap_and_an_unset_clock_are_notes():
    found = planned(replace(PROBE, swaps=("/dev/zram0",)), clock=False)
    assert unmet(found) == {"swap": "/dev/zram0", "clock": "not synchronized"}
    assert not found.errors
    assert planned(clock=None) == Plan("web")


def test_a_network_that_overlaps():
    probe = replace(PROBE, routes=(Route("host0", "10.42.9.0/24"),))
    assert unmet(planned(probe)) == {"ranges": "10.42.9.0/24 (host0) overlaps with cluster-cidr 10.42.0.0/16"}
    links = Network({"eth0": Link(name="eth0", addresses=("10.43.1.2/24",))})
    found = unmet(planned(network=links))
    assert found == {"ranges": "10.43.1.2/24 (the host's eth0) overlaps with service-cidr 10.43.0.0/16"}


def test_other_ranges_are_taken_from_the_inventory():
    wanted = guest(k3s={"config": {"cluster-cidr": "10.52.0.0/16,2001:db8:42::/56"}})
    assert planned(replace(PROBE, routes=(Route("host0", "10.42.9.0/24"),)), wanted) == Plan("web")
    probe = replace(PROBE, routes=(Route("host0", "2001:db8:42::/64"),))
    assert set(unmet(planned(probe, wanted))) == {"ranges"}


def test_no_overlay_is_needed_for_another_snapshotter():
    wanted = guest(k3s={"config": {"snapshotter": "native"}})
    assert planned(failing("overlay"), wanted) == Plan("web")


def test_what_could_not_be_tried_refuses_nothing():
    probe = replace(PROBE, tries={**PROBE.tries, "filter": Try(None, "it has neither nft nor iptables")})
    assert planned(probe) == Plan("web")
    (row,) = (row for row in rows(NODE, seen(probe)) if row.state == "untried")
    assert (row.precondition.name, row.found) == ("filter", "it has neither nft nor iptables")


def test_a_guest_that_does_not_answer_is_refused():
    (error,) = planned(Unreadable("timed out")).errors
    assert error.kind == "unreadable"
    assert "the preconditions of k3s could not be tested: timed out" in str(error)


def test_any_number_of_routes_is_a_short_text():
    probe = replace(PROBE, routes=tuple(Route("host0", f"10.42.{number}.0/24") for number in range(200)))
    found = unmet(planned(probe))["ranges"]
    assert found.endswith(" and 197 more")
    assert len(found) < 300


def test_networks_of_plugins_and_a_network_that_was_not_read():
    probe = replace(PROBE, routes=(Route("cali1234", "10.42.9.0/24"), Route("lo", "10.42.0.1/32")))
    assert planned(probe) == Plan("web")
    assert planned(replace(PROBE, routes=(Route("lobster", "10.42.9.0/24"),))).errors
    unread = planned(replace(PROBE, routes=(Route("host0", "10.42.9.0/24"),)), network=Unreadable("cut off"))
    assert unread == Plan("web")


@pytest.mark.parametrize("wanted", [guest(), guest(k3s=True, state="stopped")])
def test_only_a_running_guest_with_k3s_is_judged(wanted: object):
    assert planned(failing("bpf"), wanted) == Plan("web")


def test_one_that_was_not_tested_is_refused():
    (error,) = planned(None).errors
    assert error.kind == "unreadable"
    assert "could not be tested: the guest does not run" in str(error)


def test_a_dry_run_judges_no_guest_that_has_steps_to_come():
    stopped_guest = replace(seen(failing("bpf")), guests={})
    assert plan_guest(NODE, stopped_guest, (k3s_planned,)) == Plan("web")
    assert plan_guest(NODE, stopped_guest, (k3s_ready,)).errors


def test_a_dry_run_judges_a_guest_that_is_as_desired():
    converged = replace(
        seen(failing("bpf"), private=own(OLD)), sysroots=snapshot(private=own(OLD), paths=PATHS).sysroots
    )
    assert plan_guest(NODE, converged).steps == ()
    assert unmet(plan_guest(NODE, converged, (k3s_planned,))) == {"bpf": "it does not work"}


def test_a_failed_test_keeps_no_step_from_being_done():
    fails = replace(seen(failing("kernel-log")), guests={})
    assert plan_guest(NODE, fails).steps
