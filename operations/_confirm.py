"""Change a host's network, and confirm it over a fresh connection: else the host restores it.

The connection that ordered the change is not used again, and every wait has an end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from pyinfra import logger
from pyinfra.connectors.util import CommandOutput

from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations._look import LOST, cause
from pyinfra_nspawn.operations._program import TERMINAL, Program
from pyinfra_nspawn.operations._turns import turns_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.plans.step import Confirmation

ATTEMPT_SECONDS = 10
"""How long one attempt to connect may take."""
RESTORE_SECONDS = 60
"""How long a host may take to restore its network, and to answer again."""
PAUSE_SECONDS = 0.5


class ConfirmedProgram(Program):
    """Run a change that may cut the connection, then confirm it over a fresh one.

    + words, payload: of the change
    + confirmation: how to confirm it
    """

    def __init__(self, words: Iterable[str], payload: str, confirmation: Confirmation) -> None:
        super().__init__(words, payload)
        self.confirmation = confirmation

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Change and confirm, in the turn of this host; its outcome is that of the confirmation."""
        turns = turns_of(state, host, "network")
        with turns.turn:
            if turns.stopped_by and not host.data.get("network_keep_going"):
                self.outcome = Outcome(troubles=(_not_tried(turns.stopped_by),))
                return True, CommandOutput([])
            with suppress(gevent.Timeout), gevent.Timeout(self.confirmation.seconds / 2):
                super().execute(state, host, connector_arguments)
            if not any(trouble.verb or trouble is TERMINAL for trouble in self.outcome.troubles):
                # Armed, or the answer was lost.
                self.outcome = self._confirm(state, host, connector_arguments)
            if self.outcome.troubles:
                turns.stopped_by = turns.stopped_by or host.name
        return True, CommandOutput([])

    def _confirm(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> Outcome:
        """Connect anew until the host says that it keeps the change, or that it does not.

        It keeps nothing while it is not content itself: the connection that it says so on may be older than
        the change, and another one follows.
        """
        began = time.monotonic()
        until = began + self.confirmation.seconds
        reason = "no attempt was made"
        while time.monotonic() < until + RESTORE_SECONDS:
            try:
                outcome = self._ask(state, host, connector_arguments, until - time.monotonic())
            except LOST as error:
                reason = cause(error)
                gevent.sleep(PAUSE_SECONDS)
                continue
            if outcome.changed:
                logger.info("%s", f"{host.print_prefix}reached again after {time.monotonic() - began:.1f} s")
            if outcome.changed or any(trouble.verb for trouble in outcome.troubles):
                return _as_the_change(outcome)
        return Outcome(troubles=(_unreachable(reason),))

    def _ask(
        self, state: State, host: Host, connector_arguments: ConnectorArguments, seconds: float
    ) -> Outcome:
        """Ask the host, over a fresh connection, to keep the change.

        + seconds: that are left; past them the host is back at its old address, where it says why
        """
        left = max(1, round(seconds))
        words = ("change", "host", "network", "--", "network-keep", "-", self.confirmation.digest, str(left))
        with gevent.Timeout(ATTEMPT_SECONDS + left, TimeoutError("no answer")):
            reconnect(host, self.confirmation.address if seconds > 0 else "")
            keep = Program(words)
            keep.execute(state, host, connector_arguments)
            if keep.outcome.troubles and not keep.outcome.troubles[0].verb:
                raise TimeoutError(keep.outcome.troubles[0].problem)
            return keep.outcome


def reconnect(host: Host, address: str) -> None:
    """Close the host's connection and open a fresh one, to `address` where there is one.

    pyinfra's own `Host.disconnect` sends a command, over what may be no connection any more.
    """
    connector: Any = host.connector
    if (client := getattr(connector, "client", None)) is not None:
        client.close()
    connector.disconnect()
    before = connector.data.get("ssh_hostname")
    if address:
        connector.data["ssh_hostname"] = address
    try:
        connector.connect()
    except BaseException:
        if address:
            connector.data["ssh_hostname"] = before
        raise


def _as_the_change(outcome: Outcome) -> Outcome:
    """Return the outcome of a confirmation as that of the change that it confirms."""
    done = tuple(("network", guest) for _, guest in outcome.done)
    return Outcome(done, done, outcome.notes, outcome.troubles, outcome.facts)


def _not_tried(host: str) -> Trouble:
    return Trouble(
        "network",
        "",
        f"not tried: the network of {host} could not be changed",
        "Correct it, then run again; or set `network_keep_going` to go on with the others.",
    )


def _unreachable(reason: str) -> Trouble:
    return Trouble(
        "network",
        "",
        f"the host does not answer ({reason})",
        "It restores its network by itself: look at its console if it stays away.",
    )
