"""Files of k3s that a host stores: brought when they are needed, and removed when they are not."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Stored
from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.plans.k3s_store import LocalFile, k3s_store
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import HOST, error, guest, snapshot

DIGEST, OTHER = "0" * 64, "1" * 64
MIB = 2**20
PATH = {"path": "k3s", "sha256": DIGEST}
URL = {"url": "https://x/k3s", "sha256": DIGEST}
LOCAL = {"k3s": LocalFile(70 * MIB, DIGEST)}


def planned(binary: object = PATH, local: object = None, guests: object = None, **fields: object) -> Plan:
    wanted = (
        guests
        if guests is not None
        else (guest(k3s={"binary": binary}), guest(name="db", k3s={"binary": binary}))
    )
    host = replace(HOST, **fields)
    return plan_host(HostSettings(), wanted, snapshot(host_facts=host), (k3s_store,), local or LOCAL)


def test_a_file_is_sent_once_for_all_guests():
    (step,) = planned().steps
    assert (step.verb, step.transfer.kind) == ("k3s-append", "binary")
    assert step.text == "send k3s (000000000000) (70 MiB)"
    (step,) = planned(stored={DIGEST: Stored(8 * MIB, 1, whole=False)}).steps
    assert step.text == "send k3s (000000000000) (70 MiB, 8 MiB of it are there)"
    assert planned(stored={DIGEST: Stored(70 * MIB, 1, whole=True)}) == Plan("")


def test_a_url_is_fetched_by_the_host():
    (step,) = planned(URL).steps
    assert (step.verb, step.text) == ("k3s-fetch", "fetch k3s (000000000000)")


@pytest.mark.parametrize(
    ("local", "problem"),
    [
        ({"k3s": Unreadable("No such file or directory")}, "k3s: No such file or directory"),
        ({"k3s": LocalFile(1, OTHER)}, f"k3s: its sha256 is {OTHER}"),
    ],
)
def test_a_file_that_is_not_what_is_wanted_is_refused_before_it_is_sent(local, problem):
    found = error(planned(local=local), "impossible")
    assert found.problem == problem
    assert found.hint


def test_what_does_not_fit_is_refused():
    found = error(planned(free_bytes=100 * MIB), "unfit")
    assert found.problem == "the files of k3s need 134 MiB and the host has 100 MiB left"
    part = {DIGEST: Stored(60 * MIB, 1, whole=False)}
    assert planned(free_bytes=100 * MIB, stored=part).steps


def test_what_no_guest_has_and_none_is_to_get_is_removed():
    stored = {OTHER: Stored(MIB, 1, whole=True), "2" * 64: Stored(MIB, 2, whole=True)}
    (step,) = planned(guests=(), stored=stored).steps
    assert (step.verb, step.arguments) == ("k3s-prune", ())
    kept = {DIGEST: Stored(70 * MIB, 1, whole=True), **stored}
    (step,) = planned(stored=kept).steps
    assert (step.verb, step.arguments) == ("k3s-prune", (DIGEST,))


def test_a_guest_that_is_removed_needs_nothing():
    assert planned(guests=(guest(state="absent", k3s={"binary": PATH}),)) == Plan("")
