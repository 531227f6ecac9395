"""What an inventory asks of one host: defaults under each guest, and every error."""

from __future__ import annotations

import pytest

from pyinfra_nspawn.specs import Guest, GuestNetwork, Limits
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import errors_in, guests_from, settings_from

DEFAULTS = {
    "autostart": False,
    "limits": {"tasks_max": 100, "memory_max": "1G"},
    "files": {"/etc/a": "all", "/etc/b": "all"},
    "mask_units": ["a.service"],
}


def only(guest: object, defaults: object = DEFAULTS) -> Guest:
    (found,) = guests_from({"guest_defaults": defaults, "guests": [guest]}, "lab1")
    return found


def test_defaults_are_under_each_guest():
    found = guests_from({"guest_defaults": DEFAULTS, "guests": [{"name": "a"}, {"name": "b"}]}, "lab1")
    assert [(guest.name, guest.autostart) for guest in found] == [("a", False), ("b", False)]


@pytest.mark.parametrize("limits", [{"tasks_max": 5}, Limits(tasks_max=5)])
@pytest.mark.parametrize("make", [dict, Guest])
def test_the_fields_of_a_guest_win_and_dicts_are_merged_by_key(make: type, limits: object):
    given = {"name": "web", "limits": limits, "files": {"/etc/b": "own"}, "mask_units": ("b.service",)}
    guest = only(make(**given))
    assert guest.limits == Limits(tasks_max=5, memory_max="1G")
    assert {path: file.content.get_secret_value() for path, file in guest.files.items()} == {
        "/etc/a": "all",
        "/etc/b": "own",
    }
    assert guest.mask_units == ("b.service",)


def test_defaults_may_be_specs():
    limits = Limits(tasks_max=100)
    assert only({"name": "web", "limits": {"memory_max": "1G"}}, {"limits": limits}).limits == Limits(
        tasks_max=100, memory_max="1G"
    )


def test_a_guest_without_defaults_is_as_it_was():
    guest = Guest(name="web", hostname="www")
    (found,) = guests_from({"guests": [guest]}, "lab1")
    assert found == guest.model_copy(update={"network": GuestNetwork(kind="veth")})
    assert guests_from({"guest_defaults": {"state": "stopped"}}, "lab1") == ()


@pytest.mark.parametrize("adopt", ["web", ["web", "other"]])
def test_adoption_is_allowed_by_name(adopt: object):
    found = guests_from({"guests": [{"name": "web"}, {"name": "db"}], "adopt": adopt}, "lab1")
    assert [guest.adopt for guest in found] == [True, False]


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        (["web"], "guest_defaults: must be a dict of a guest's fields"),
        ({"name": "web"}, "guest_defaults: name: must be given for each guest"),
        ({"autostrat": True}, "guests.0.autostrat: no such field"),
    ],
)
def test_wrong_defaults_are_refused(defaults: object, problem: str):
    with pytest.raises(InvalidSpecError, match=f"^lab1: {problem}$"):
        only({"name": "web"}, defaults)


def test_every_error_is_named():
    data = {
        "guests": [{"name": "a", "machine_id": "x"}, {"name": "b", "stat": 1}],
        "nspawn_host": {"free_mib": "", "selinx": 1},
    }
    assert [error.split(": ")[1] for error in errors_in(data, "lab1")] == [
        "guests.0.machine_id",
        "guests.1.stat",
        "free_mib",
        "selinx",
    ]
    assert errors_in({"guests": [{"name": "a"}]}, "lab1") == []


def test_settings_have_defaults():
    assert settings_from({}, "lab1").starts_at_once == 4
    assert settings_from({"nspawn_host": {"starts_at_once": 2}}, "lab1").starts_at_once == 2


BRIDGE = {"bridge": {"name": "lan", "uplinks": ["en*"]}}


@pytest.mark.parametrize(
    ("settings", "network", "kind", "name"),
    [
        ({}, "default", "veth", None),
        (BRIDGE, "default", "bridge", "lan"),
        (BRIDGE, "bridge", "bridge", "lan"),
        (BRIDGE, "bridge:other", "bridge", "other"),
        (BRIDGE, "veth", "veth", None),
        (BRIDGE, "zone:lab", "zone", "lab"),
        ({"bridge": {"uplinks": ["en*"], "state": "absent"}}, "default", "veth", None),
    ],
)
def test_a_bridge_of_the_host_is_the_default_of_its_guests(settings, network, kind, name):
    data = {"nspawn_host": settings, "guests": [{"name": "web", "network": network}]}
    (guest,) = guests_from(data, "lab1")
    assert (guest.network.kind, guest.network.name) == (kind, name)


def test_a_bridge_without_a_name_needs_one_of_the_host():
    data = {"guests": [{"name": "web", "network": "bridge"}]}
    assert errors_in(data, "lab1") == [
        "lab1: web: network: 'bridge' needs a name, for `nspawn_host` has no bridge"
    ]
