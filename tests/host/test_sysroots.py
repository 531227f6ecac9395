"""A guest's sysroot: made, filled, deployed and chosen with the real ostree of each generation."""

from __future__ import annotations

import pytest

from pyinfra_nspawn.facts.ostree import Sysroot
from tests.host.machine import WORK, Machine

KINDS = ["private", "shared"]


def made(machine: Machine, kind: str, name: str = "web", ref: str = "old"):
    """Make a guest; return the answer."""
    scope = (f"guest:{name}", "sysroot")
    steps = (
        ("stateroot", name, kind),
        ("pull", name, kind, "", ref),
        ("deploy", name, kind, ref),
        ("current", name, kind, ref),
    )
    return machine.change(*scope, *(word for step in steps for word in ("--", *step)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_guest_is_made_and_a_second_look_finds_nothing_to_do(machine: Machine, kind: str):
    before = machine.shell("ostree admin --sysroot=sysroot status")
    first = made(machine, kind)
    shared = kind == "shared"
    assert first.steps() == dict.fromkeys(("stateroot", "deploy", "current"), "changed") | {
        "pull": "nothing" if shared else "changed"
    }
    assert set(made(machine, kind).steps().values()) == {"nothing"}
    sysroots = first.snapshot.sysroots
    assert isinstance(sysroots.host, Sysroot)
    own = sysroots.host if shared else sysroots.guests["web"]
    (deployment,) = own.of_stateroot("web")
    seen = first.snapshot.guests["web"]
    deployments = f"{WORK}/sysroot/ostree/deploy/web/deploy" if shared else "ostree/deploy/web/deploy"
    assert seen.current == f"{deployments}/{deployment.id}"
    assert seen.directory == "700 0:0"
    assert machine.shell("ostree admin --sysroot=sysroot status").startswith(before)
    machine.shell("[ $(stat -c %a state) = 700 ] && [ $(cat state/.version) = 1 ]")


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_deployment_has_its_own_identity(machine: Machine, kind: str):
    made(machine, kind)
    machine.shell("cd state/web/current/etc && [ -e machine-id ] && ! [ -s machine-id ] && ! [ -e hostname ]")
    # The guest makes its own, and a later deployment has it.
    machine.shell("echo own >state/web/current/etc/hostname; echo own >state/web/current/etc/machine-id")
    steps = (
        ("pull", "web", kind, "", "new"),
        ("deploy", "web", kind, "new"),
        ("current", "web", kind, "new"),
    )
    machine.change("guest:web", *(word for step in steps for word in ("--", *step)))
    assert machine.shell("cat state/web/current/usr/release") == "new\n"
    assert (
        machine.shell("cat state/web/current/etc/hostname state/web/current/etc/machine-id") == "own\nown\n"
    )
