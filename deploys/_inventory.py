"""From an inventory's plain data to specs, before any command is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import host

from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import Data, guests_from, settings_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinfra_nspawn.specs import Guest, HostSettings

T = TypeVar("T")


def guests_of_host() -> tuple[Guest, ...]:
    """Return the guests of the current host, each after those that it waits for when the host starts.

    Raises `PyinfraError`, one readable line, when they are not what `Guest` describes.
    """
    return staggered(_read(guests_from), settings_of_host().starts_at_once)


def settings_of_host() -> HostSettings:
    """Return what the current host's data key `nspawn_host` says, or the defaults.

    Raises `PyinfraError`, one readable line, when it is not what `HostSettings` describes.
    """
    return _read(settings_from)


def _read(read: Callable[[Data, str], T]) -> T:
    try:
        return read(host.data.dict(), f"inventory of {host.name}")
    except InvalidSpecError as error:
        raise PyinfraError(str(error)) from None
