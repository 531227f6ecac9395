"""The words in which an inventory's guest is refused."""

import pytest

from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.base import InvalidSpecError


def refusal(**fields: object) -> str:
    with pytest.raises(InvalidSpecError) as error:
        Guest.of({"name": "web", **fields}, "inventory of host1")
    assert "\n" not in str(error.value)
    return str(error.value)


def accepted(**fields: object) -> Guest:
    return Guest.of({"name": "web", **fields}, "inventory of host1")
