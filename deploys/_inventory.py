"""From an inventory's plain data to specs, before any command is run."""

from __future__ import annotations

from typing import TypeVar

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import host

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs import Adopted, Guest, Guests, HostSettings
from pyinfra_nspawn.specs.base import InvalidSpecError, Spec

S = TypeVar("S", bound=Spec)


def guests_of_host() -> tuple[Guest, ...]:
    """Return the guests in the current host's data key `guests`; none where there is no such key.

    Each knows those that it waits for when the host starts, and whether the data key `adopt`, a name or a
    list of names, lets it be adopted.

    Raises `PyinfraError`, one readable line, when they are not what `Guest` describes.
    """
    guests = _read(Guests, {"guests": host.data.get("guests") or ()}).guests
    names = _read(Adopted, {"adopt": host.data.get("adopt") or ()}).adopt
    wanted = [guest.model_copy(update={"adopt": guest.adopt or guest.name in names}) for guest in guests]
    return staggered(wanted, settings_of_host().starts_at_once)


def settings_of_host() -> HostSettings:
    """Return what the current host's data key `nspawn_host` says, or the defaults.

    Raises `PyinfraError`, one readable line, when it is not what `HostSettings` describes.
    """
    return _read(HostSettings, host.data.get("nspawn_host") or {})


def _read(spec: type[S], value: object) -> S:
    try:
        return spec.of(value, f"inventory of {host.name}")
    except InvalidSpecError as error:
        raise PyinfraError(str(error)) from None
