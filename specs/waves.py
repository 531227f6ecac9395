"""In which order the hosts of a fleet are upgraded: a few first, then more."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from pyinfra_nspawn.specs.base import InvalidSpecError, Items, Line, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BAD_NUMBER = re.compile(r"-?\d*%?|\d+ .*", re.ASCII)
_SHARE = re.compile(r"([1-9][0-9]?|100)%", re.ASCII)


def _wave(value: object) -> object:
    """Check a wave before pydantic tries the types of a union, each with an error of its own."""
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    text = isinstance(value, str) and bool(_SHARE.fullmatch(value) or not _BAD_NUMBER.fullmatch(value))
    if not (number or text):
        raise ValueError("must be a number of hosts, a share of them like 25%, or a host's or group's name")
    return value


class Waves(Spec):
    """The inventory's `upgrade_waves`: how many hosts are upgraded side by side, wave after wave.

    + upgrade_waves: each a number of hosts, a share of all of them (`25%`, rounded up), or the name of a host
      or of a group. They are taken in the inventory's order; hosts that are left form the last wave. One host
      first by default, then a quarter of them
    """

    upgrade_waves: Annotated[tuple[Annotated[int | Line, BeforeValidator(_wave)], ...], Items] = (1, "25%")

    def waves(self, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        """Return the hosts of each wave; a wave that has none is left out.

        + hosts: all hosts to upgrade, in the inventory's order
        + groups: hosts by the name of a group, or of a host

        Raises `InvalidSpecError` for a name that is neither a host's nor a group's.

        >>> Waves(upgrade_waves=(1, "50%")).waves(["a", "b", "c", "d"], {})
        (('a',), ('b', 'c'), ('d',))
        """
        left, found = list(hosts), []
        for wave in (*self.upgrade_waves, len(left)):
            taken = _taken(wave, left, len(hosts), groups)
            left = [name for name in left if name not in taken]
            found.append(taken)
        return tuple(filter(None, found))


def _taken(
    wave: int | str, left: Sequence[str], count: int, groups: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if isinstance(wave, int):
        return tuple(left[:wave])
    if match := _SHARE.fullmatch(wave):
        return tuple(left[: math.ceil(count * int(match[1]) / 100)])
    if wave not in groups:
        raise InvalidSpecError("upgrade_waves", f"there is no host or group {wave}")
    return tuple(name for name in left if name in groups[wave])
