"""The order in which guests start with their host."""

import graphlib

import pytest

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs import Guest
from tests.unit.seen import guest

THIRTY = [guest(name=f"web-{number}") for number in range(30)]


def after(guests: list[Guest], at_once: int = 4) -> dict[str, tuple[str, ...]]:
    return {found.name: found.after for found in staggered(guests, at_once)}


def waves(waits: dict[str, tuple[str, ...]]) -> list[int]:
    """Return how many start side by side, wave by wave, when every start takes as long."""
    found, order = [], graphlib.TopologicalSorter(waits)
    order.prepare()
    while order.is_active():
        ready = order.get_ready()
        order.done(*ready)
        found.append(len(ready))
    return found


@pytest.mark.parametrize("at_once", [1, 2, 4, 30])
def test_no_more_start_side_by_side_than_wanted(at_once: int):
    found = waves(after(THIRTY, at_once))
    assert max(found) <= at_once
    assert sum(found) == 30


def test_lanes_are_about_as_long():
    assert len(waves(after(THIRTY))) <= 12


def test_one_guest_more_changes_one_other():
    before = after(THIRTY)
    with_one_more = after([*THIRTY, guest(name="web-11a")])
    assert len([name for name in before if before[name] != with_one_more[name]]) <= 1


def test_the_order_is_the_inventorys():
    reverse = THIRTY[::-1]
    assert [found.name for found in staggered(reverse, 4)] == [found.name for found in reverse]
    assert after(reverse) == after(THIRTY)


def test_a_guest_that_does_not_start_with_the_host_is_waited_for_by_none():
    guests = [guest(name="a"), guest(name="b", autostart=False), guest(name="c")]
    assert after(guests, 1) == {"a": (), "b": (), "c": ("a",)}


def test_what_the_inventory_says_is_kept():
    guests = [guest(name="a", after=["c"]), guest(name="b"), guest(name="c")]
    assert after(guests, 1) == {"a": ("c",), "b": (), "c": ("b",)}
