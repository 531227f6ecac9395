"""What a host gets for guests in which k3s runs."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.plans.k3s import k3s_host
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.specs import HostSettings
from pyinfra_nspawn.specs.k3s import MODULES, MODULES_FILE, SYSCTLS, SYSCTLS_FILE
from tests.unit.seen import HOST, error, guest, snapshot

READY = replace(HOST, modules=MODULES, sysctls=SYSCTLS)


def planned(host: object = HOST, **fields: object) -> Plan:
    wanted = (guest(**{"k3s": True, **fields}),)
    return plan_host(HostSettings(), wanted, snapshot(host_facts=host), (k3s_host,))


def files(found: Plan) -> dict[str, str]:
    (step,) = found.steps
    lines = (line.split(" ") for line in step.payload.splitlines())
    return {path: base64.b64decode(content).decode() for _, path, content in lines}


def configured() -> object:
    found = files(planned())
    return replace(READY, k3s_modules_file=found[MODULES_FILE], k3s_sysctls_file=found[SYSCTLS_FILE])


def test_modules_and_sysctls_now_and_at_boot():
    found = files(planned())
    assert set(MODULES) <= set(found[MODULES_FILE].splitlines())
    assert {"kernel.panic = 10", "vm.overcommit_memory = 1"} <= set(found[SYSCTLS_FILE].splitlines())
    assert {finding.field for finding in planned().findings} >= {"modules.overlay", "sysctls.kernel.panic"}


def test_it_is_done_once():
    assert planned(configured()) == Plan("")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"modules": MODULES[1:]}, f"modules.{MODULES[0]}"),
        ({"sysctls": {**SYSCTLS, "kernel.panic": "0"}}, "sysctls.kernel.panic"),
        ({"k3s_modules_file": None}, MODULES_FILE),
        ({"k3s_sysctls_file": "# Managed by pyinfra-nspawn\n"}, SYSCTLS_FILE),
    ],
)
def test_what_is_not_so_any_more_is_found_and_put_right(changed, field):
    found = planned(replace(configured(), **changed))
    assert [finding.field for finding in found.findings] == [field]
    assert found.steps


def test_a_foreign_file_is_refused():
    found = error(planned(replace(HOST, k3s_modules_file="overlay\n")), "foreign")
    assert found.field == MODULES_FILE


def test_others_need_nothing():
    assert planned(k3s=None) == Plan("")
    assert planned(state="absent") == Plan("")


LEAST = "net.netfilter.nf_conntrack_max"


def test_the_table_of_connections_is_enlarged_and_never_reduced():
    small = replace(READY, sysctls={**SYSCTLS, LEAST: "65536"})
    assert f"{LEAST} = 131072" in files(planned(small))[SYSCTLS_FILE].splitlines()
    assert f"sysctls.{LEAST}" in {finding.field for finding in planned(small).findings}
    large = replace(READY, sysctls={**SYSCTLS, LEAST: "262144"})
    assert LEAST not in files(planned(large))[SYSCTLS_FILE]
    assert LEAST not in files(planned())[SYSCTLS_FILE]


@pytest.mark.parametrize(("value", "kept"), [("131072", True), ("262144", False), ("?", True)])
def test_an_enlarged_table_stays_in_the_file_until_somebody_enlarges_it_more(value: str, kept: bool):
    written = files(planned(replace(READY, sysctls={**SYSCTLS, LEAST: "65536"})))
    after = replace(
        READY,
        sysctls={**SYSCTLS, LEAST: value},
        k3s_modules_file=written[MODULES_FILE],
        k3s_sysctls_file=written[SYSCTLS_FILE],
    )
    assert (planned(after) == Plan("")) is kept
    if not kept:
        assert LEAST not in files(planned(after))[SYSCTLS_FILE]
