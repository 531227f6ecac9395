"""What an inventory asks of one host: its settings and its guests, from plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from pyinfra_nspawn.specs.archive import ArchiveData
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.guest import Guest, Guests, Named
from pyinfra_nspawn.specs.host import HostSettings
from pyinfra_nspawn.specs.k3s_guest import with_k3s

Data = Mapping[str, Any]
"""A host's data by key; what group data says of it included."""


def guests_from(data: Data, where: str) -> tuple[Guest, ...]:
    """Return the guests in a host's data key `guests`; none without one.

    + data: the host's data
    + where: begins the message of an error

    `guest_defaults` is merged under each guest: a field of the guest itself wins, and fields that are
    dicts (`files`, `limits`, `environment`, `credentials`) are merged by their keys. pyinfra itself replaces
    data as a whole. The data key `adopt`, a name or a list of names, allows these guests to be adopted.
    All are `absent` where the `state` of `nspawn_host` is.

    Raises `InvalidSpecError`, one line, when they are not what `Guest` describes.

    >>> guests_from({"guest_defaults": {"state": "stopped"}, "guests": [{"name": "web"}]}, "lab1")[0].state
    'stopped'
    """
    defaults = data.get("guest_defaults") or {}
    if not isinstance(defaults, Mapping):
        raise InvalidSpecError(where, "guest_defaults: must be a dict of a guest's fields")
    if "name" in defaults:
        raise InvalidSpecError(where, "guest_defaults: name: must be given for each guest")
    asked = data.get("guests") or ()
    forced = {"state": "absent"} if _is_given_up(data) else {}
    if (defaults or forced) and isinstance(asked, (list, tuple)):
        asked = [_between(defaults, guest, forced) for guest in asked]
    names = named_in(data, where).adopt
    found = Guests.of({"guests": asked}, where).guests
    return tuple(_on(guest, names, _bridge(data), where) for guest in found)


def named_in(data: Data, where: str) -> Named:
    """Return the guests that a run is told of by `--data`, or by a host's data.

    + data: the host's data
    + where: begins the message of an error

    Raises `InvalidSpecError`, one line, when they are not names.

    >>> named_in({"rollback": "web"}, "lab1").rollback
    ('web',)
    """
    return Named.of({name: data.get(name) or () for name in Named.model_fields}, where)


def archive_data_in(data: Data, where: str) -> ArchiveData:
    """Return the data keys of a backup and a restore.

    + data: the host's data
    + where: begins the message of an error

    Raises `InvalidSpecError`, one line, when it is not what `ArchiveData` describes.
    """
    return ArchiveData.of({name: data[name] for name in ArchiveData.model_fields if name in data}, where)


def settings_from(data: Data, where: str) -> HostSettings:
    """Return what a host's data key `nspawn_host` says, or the defaults.

    + data: the host's data
    + where: begins the message of an error

    Raises `InvalidSpecError`, one line, when it is not what `HostSettings` describes.
    """
    return HostSettings.of(data.get("nspawn_host") or {}, where)


def errors_in(data: Data, where: str) -> list[str]:
    """Return every error in a host's data, a line each; none where all is well.

    + data: the host's data
    + where: begins each line

    >>> errors_in({"guests": [{"name": "web", "stat": 1}], "nspawn_host": {"free_mib": ""}}, "lab1")[0]
    'lab1: guests.0.stat: no such field'
    """
    found = []
    for read in (guests_from, settings_from):
        try:
            read(data, where)
        except InvalidSpecError as error:
            found += [f"{where}: {problem}" for problem in error.problems]
    return found


def _on(guest: Guest, adopted: Collection[str], bridge: str | None, where: str) -> Guest:
    """Return a guest as it is on its host, with this bridge or with none."""
    network = guest.network.on(bridge)
    if network.kind == "bridge" and network.name is None:
        problem = f"{guest.name}: network: 'bridge' needs a name, for `nspawn_host` has no bridge"
        raise InvalidSpecError(where, problem)
    update = {"adopt": guest.adopt or guest.name in adopted, "network": network}
    return with_k3s(guest.model_copy(update=update))


def _bridge(data: Data) -> str | None:
    """Return the name of the host's bridge; None without one, or where the settings are wrong."""
    with suppress(InvalidSpecError):
        bridge = settings_from(data, "").bridge
        return bridge.name if bridge and bridge.state == "present" else None
    return None


def _is_given_up(data: Data) -> bool:
    settings = _plain(data.get("nspawn_host"))
    return isinstance(settings, Mapping) and settings.get("state") == "absent"


def _between(defaults: Data, guest: object, forced: Data) -> object:
    """Return a guest merged over the defaults and under the forced fields; return other values unchanged."""
    guest = _plain(guest)
    if not isinstance(guest, Mapping):
        return guest
    merged = {**defaults, **guest, **forced}
    for field in defaults.keys() & guest.keys() - forced.keys():
        low, high = _plain(defaults[field]), _plain(guest[field])
        if isinstance(low, Mapping) and isinstance(high, Mapping):
            merged[field] = {**low, **high}
    return merged


def _plain(value: object) -> object:
    """Return a spec as the dict of the fields that were given."""
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in value.model_fields_set}
    return value
