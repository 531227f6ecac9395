"""A change of a host's network that is tried, as tests see it on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.shell import LabError, retry

if TYPE_CHECKING:
    from tests.lab.protocol import Machine

NETWORK = "deploys/network.py"
PENDING = "test -e /run/pyinfra-nspawn/network/pending"
CHECKED = "test -e /run/pyinfra-nspawn/network/checked"
OVER = "! test -e /run/pyinfra-nspawn/network"
ARMED_AND_ASKED = 3
"""The look, the change, and the first time that the host is asked to keep it, which keeps nothing."""


def is_as_before(machine: Machine, state: str, before: str, seconds: float) -> None:
    """Wait until a host is as before.

    + state: the command that prints what it is like
    + before: what that printed
    """

    def restored() -> bool | None:
        return machine.succeed(state) == before or None

    try:
        retry(restored, seconds, "the state of before")
    except LabError:
        assert machine.succeed(state) == before
        raise
