"""Files of k3s that a host stores: brought when they are needed, and removed when they are not."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Stored
from pyinfra_nspawn.facts.local import LocalFile
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.plans.k3s_store import k3s_bring, k3s_prune
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import HOST, error, guest, snapshot

DIGEST, OTHER = "0" * 64, "1" * 64
MIB = 2**20
PATH = {"path": "k3s", "sha256": DIGEST}
URL = {"url": "https://x/k3s", "sha256": DIGEST}
LOCAL = {"k3s": LocalFile(70 * MIB, DIGEST)}


def planned(binary: object = PATH, local: object = None, **fields: object) -> Plan:
    seen = replace(snapshot(host_facts=replace(HOST, **fields)), local=local or LOCAL)
    return plan_guest(guest(k3s={"binary": binary}), seen, (k3s_bring,))


def test_a_file_is_sent_unless_the_host_has_it():
    (step,) = planned().steps
    assert (step.verb, step.transfer.kind) == ("store-append", "binary")
    assert step.text == "send k3s (000000000000) (70 MiB)"
    (step,) = planned(stored={DIGEST: Stored(8 * MIB, 1, whole=False)}).steps
    assert step.text == "send k3s (000000000000) (70 MiB, 8 MiB of it are there)"
    assert planned(stored={DIGEST: Stored(70 * MIB, 1, whole=True)}) == Plan("web")


def test_a_url_is_fetched_by_the_host():
    (step,) = planned(URL).steps
    assert (step.verb, step.text) == ("store-fetch", "fetch k3s (000000000000)")


@pytest.mark.parametrize(
    ("local", "problem"),
    [
        ({"k3s": Unreadable("No such file or directory")}, "k3s: No such file or directory"),
        ({"k3s": LocalFile(1, OTHER)}, f"k3s: its sha256 is {OTHER}"),
    ],
)
def test_a_file_that_is_not_the_desired_one_is_refused_before_it_is_sent(local, problem):
    found = error(planned(local=local), "impossible")
    assert found.problem == problem
    assert found.hint


def test_what_does_not_fit_is_refused():
    found = error(planned(free_bytes=100 * MIB), "unfit")
    assert found.problem == "its files of k3s need 134 MiB and the host has 100 MiB left"
    part = {DIGEST: Stored(60 * MIB, 1, whole=False)}
    assert planned(free_bytes=100 * MIB, stored=part).steps


def pruned(*guests: object, **stored: Stored) -> Plan:
    found = snapshot(host_facts=replace(HOST, stored={digit * 64: item for digit, item in stored.items()}))
    return plan_host(HostSettings(), guests, found, (k3s_prune,))


def test_what_no_guest_has_or_will_get_is_removed():
    alone, shared = Stored(MIB, 1, whole=True), Stored(MIB, 2, whole=True)
    (step,) = pruned(**{"1": alone, "2": shared}).steps
    assert (step.verb, step.arguments) == ("store-prune", ())
    (step,) = pruned(guest(k3s={"binary": PATH}), **{"0": alone, "1": alone}).steps
    assert (step.verb, step.arguments) == ("store-prune", (DIGEST,))
    assert pruned(guest(k3s={"binary": PATH}), **{"0": alone, "2": shared}) == Plan("")
    assert pruned(guest(k3s={"binary": PATH}, state="absent"), **{"0": alone}).steps
