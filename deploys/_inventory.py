"""From an inventory's plain data to specs, before any command is run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import host

from pyinfra_nspawn.operations._look import current_state
from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.cluster import joined, nodes_of
from pyinfra_nspawn.specs.inventory import archive_data_in, guests_from, named_in, settings_from
from pyinfra_nspawn.specs.waves import Waves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra.api.state import State

    from pyinfra_nspawn.specs import Guest, HostSettings, Named
    from pyinfra_nspawn.specs.archive import ArchiveData
    from pyinfra_nspawn.specs.cluster import Node

_WAVES = "upgrade_waves"
_GIVEN_WAVES: WeakKeyDictionary[State, list[object]] = WeakKeyDictionary()
_FLEETS: WeakKeyDictionary[State, dict[str, tuple[Guest, ...]]] = WeakKeyDictionary()


def guests_of_host() -> tuple[Guest, ...]:
    """Return the guests of the current host, each after those that it waits for when the host starts.

    Raises `PyinfraError`, one readable line, when they are not what `Guest` describes.
    """
    with _in_one_line():
        guests = guests_from(host.data.dict(), f"inventory of {host.name}")
        if any(guest.k3s and guest.k3s.binary for guest in guests):
            guests = joined(host.name, {**_fleet(), host.name: guests})
    return staggered(guests, settings_of_host().starts_at_once)


def nodes_of_fleet() -> tuple[Node, ...]:
    """Return the nodes of all clusters of the inventory, in its order.

    Raises `PyinfraError`, one readable line, when the guests of a host are not what `Guest` describes.
    """
    with _in_one_line():
        return nodes_of(_fleet())


def _fleet() -> dict[str, tuple[Guest, ...]]:
    """Return the guests of all hosts of the inventory by host, in its order; read once in a run.

    Raises `InvalidSpecError` when those of one are not what `Guest` describes: which server a node joins
    is then unknown.
    """
    running = current_state()
    if running not in _FLEETS:
        _FLEETS[running] = {
            item.name: guests_from(item.data.dict(), f"inventory of {item.name}")
            for item in running.inventory
        }
    return _FLEETS[running]


def named_in_data() -> Named:
    """Return the guests that `--data` names. Raises `PyinfraError` when they are not names."""
    with _in_one_line():
        return named_in(host.data.dict(), f"inventory of {host.name}")


def archive_data() -> ArchiveData:
    """Return the data keys of a backup and a restore. Raises `PyinfraError` for what they do not take."""
    with _in_one_line():
        return archive_data_in(host.data.dict(), f"inventory of {host.name}")


def guest_to_restore() -> tuple[str, str]:
    """Return host and name of the guest that `--data restore=` names.

    Raises `PyinfraError` for none, and for a guest that the inventory does not have, or has on several hosts,
    or on one that is not part of this run.
    """
    wanted = archive_data().restore
    if not wanted:
        raise PyinfraError("restore: no guest is named. Write `--data restore=NAME`.")
    where, _, name = wanted.rpartition(":")
    with _in_one_line():
        fleet = _fleet()
    found = [item for item, guests in fleet.items() if any(guest.name == name for guest in guests)]
    found = [item for item in found if where in ("", item.removeprefix("@ssh/"))]
    if not found:
        raise PyinfraError(f"restore: no guest is called {wanted}. Add it to the inventory of its new host.")
    if len(found) > 1:
        raise PyinfraError(f"restore: {', '.join(found)} have a guest {name}. Write {found[0]}:{name}.")
    state = current_state()
    if not any(item.name == found[0] and state.is_host_in_limit(item) for item in state.inventory):
        raise PyinfraError(f"restore: {found[0]} is not part of this run. Name it in `--limit` too.")
    return found[0], name


def refuse_unknown(key: str, names: Iterable[str]) -> None:
    """Raise `PyinfraError` for names that no guest of the inventory has: a typing error would do nothing.

    + key: of `--data`, which the names are from
    """
    known = {guest.name for guests in _fleet().values() for guest in guests}
    if unknown := sorted(set(names) - known):
        raise PyinfraError(f"{key}: no guest is called {', '.join(unknown)}. Correct the name.")


def upgrade_waves() -> tuple[tuple[str, ...], ...]:
    """Return the names of the hosts of this run in the waves in which they are upgraded.

    Hosts that this run could not connect to are among them. Raises `PyinfraError`, one readable line, when
    the data key `upgrade_waves` is not what `Waves` describes.
    """
    state = current_state()
    limited = [item.name for item in state.inventory if state.is_host_in_limit(item)]
    groups = {name: [item.name for item in hosts] for name, hosts in state.inventory.groups.items()}
    groups |= {item.name: [item.name] for item in state.inventory}
    given = _waves_of_hosts()
    if any(item != given[0] for item in given):
        raise PyinfraError(f"{_WAVES}: hosts have different ones; write it once, for all of them")
    with _in_one_line():
        waves = Waves.of({_WAVES: given[0]} if given else {}, "inventory")
        return waves.waves(limited, groups)


def _waves_of_hosts() -> list[object]:
    """Return the `upgrade_waves` of all hosts of the inventory that have one; read once in a run."""
    running = current_state()
    if running not in _GIVEN_WAVES:
        data = (item.data.dict() for item in running.inventory)
        _GIVEN_WAVES[running] = [found[_WAVES] for found in data if _WAVES in found]
    return _GIVEN_WAVES[running]


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Raise `PyinfraError`, which pyinfra shows as one line, for data that no spec describes."""
    try:
        yield
    except InvalidSpecError as error:
        raise PyinfraError(str(error)) from None


def settings_of_host() -> HostSettings:
    """Return what the current host's data key `nspawn_host` says, or the defaults.

    Raises `PyinfraError`, one readable line, when it is not what `HostSettings` describes.
    """
    with _in_one_line():
        return settings_from(host.data.dict(), f"inventory of {host.name}")
