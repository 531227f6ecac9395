"""Change a node of a cluster in its turn: its pods are moved away before, and it is awaited after."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations._program import Program
from pyinfra_nspawn.operations._turns import turns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.plans.step import Step, Turn


class NodeProgram(PyinfraCommand):
    """Carry out a step upon a node, in its turn.

    + step: with its `turn`
    """

    def __init__(self, step: Step, turn: Turn) -> None:
        super().__init__()
        self.step = step
        self.turn = turn
        self.outcome = Outcome()

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Do it, unless a node before failed; a node that only joins waits for no other."""
        turns = turns_of(state, host, "k3s", self.turn.cluster)
        with turns.turn if self.turn.alone else nullcontext():
            if turns.stopped_by and self.turn.alone:
                self.outcome = Outcome(troubles=(self._not_tried(turns.stopped_by),))
            else:
                self._run(state, host, connector_arguments)
            if self.outcome.troubles:
                turns.stopped_by = turns.stopped_by or self.turn.node
        return True, CommandOutput([])

    def _run(self, state: State, host: Host, arguments: ConnectorArguments) -> None:
        """Run the commands in order, none after one that fails."""
        for at_server, words in self._commands():
            if at_server:
                outcome = self._ask_server(state, words)
            else:
                program = Program(words)
                program.execute(state, host, arguments)
                outcome = program.outcome
            troubles = tuple(replace(item, guest=self.step.guest) for item in outcome.troubles)
            facts = outcome.facts if words[0] == "change" else self.outcome.facts
            self.outcome = Outcome(notes=outcome.notes, troubles=troubles, facts=facts)
            if troubles:
                return
        done = ((self.step.verb, self.step.guest),)
        self.outcome = replace(self.outcome, done=done, changed=done)

    def _commands(self) -> Iterator[tuple[bool, tuple[str, ...]]]:
        """Yield the commands, each with whether a server of the cluster is asked."""
        guest, turn = self.step.guest, self.turn
        change = ("change", f"guest:{guest}", "--")
        server = turn.server[1] if turn.server else ""
        if turn.drain_seconds and turn.uncordon:
            yield False, (*change, "k3s-cordoned", guest, "yes")
        if turn.drain_seconds:
            yield True, ("node", "k3s-drain", server, turn.node, str(turn.drain_seconds))
        if turn.ready_seconds:
            place = ("k3s-place", guest, *self.step.arguments)
            yield False, (*change, *place, "--", "k3s-start", guest)
            yield False, ("node", "k3s-await", guest, turn.node, str(turn.ready_seconds))
        else:
            yield False, (*change, "k3s-leave", guest)
            if server:
                yield True, ("node", "k3s-delete-node", server, turn.node)
            if turn.removed:
                yield False, (*change, "k3s-unplace", guest)
        if turn.uncordon:
            yield True, ("node", "k3s-uncordon", server, turn.node)
            yield False, (*change, "k3s-cordoned", guest, "no")

    def _ask_server(self, state: State, words: tuple[str, ...]) -> Outcome:
        """Ask a server of the cluster, which may run on another host."""
        name = self.turn.server[0] if self.turn.server else ""
        host = state.inventory.get_host(name)
        if not host.connected:
            return Outcome(troubles=(self._no_way(name),))
        with ctx_host.use(host):
            given: dict[str, Any] = dict(pop_global_arguments(state, host, {})[0])
            arguments = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
            program = Program(words)
            program.execute(state, host, cast("ConnectorArguments", arguments))
        return program.outcome

    def _not_tried(self, node: str) -> Trouble:
        problem = f"not tried: node {node} failed before"
        return Trouble(self.step.verb, self.step.guest, problem, "Fix that node, then run again.")

    def _no_way(self, host: str) -> Trouble:
        problem = f"a server of its cluster runs on {host}, which this run does not reach"
        return Trouble(
            self.step.verb, self.step.guest, problem, "Run for that host too, or set `drain: False`."
        )
