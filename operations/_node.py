"""Change a node of a cluster in its turn: its pods are moved away before, and it is awaited after."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
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

    from pyinfra_nspawn.operations._turns import Turns
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
        place = turns.single if self.turn.is_server else turns.turn
        with place if self.turn.alone else nullcontext():
            trouble = self._refusal(state, turns)
            if trouble:
                self.outcome = Outcome(troubles=(trouble,))
                return True, CommandOutput([])
            self._run(state, host, connector_arguments)
            if self.outcome.troubles:
                turns.stopped_by = turns.stopped_by or self.turn.node
            elif turns.stopped_by == self.turn.node:  # tried again
                turns.stopped_by = ""
        return True, CommandOutput([])

    def _refusal(self, state: State, turns: Turns) -> Trouble | None:
        """Return why the step is refused; None otherwise."""
        turn = self.turn
        missing = [name for name in turn.after if name not in turns.done]
        hosts = sorted({host for host, _ in turn.servers})
        apart = [host for host in hosts if not state.inventory.get_host(host).connected]
        if turn.alone and turns.stopped_by not in ("", turn.node):
            return self._trouble(
                f"not tried: node {turns.stopped_by} failed before", "Fix that node, then run again."
            )
        if missing:
            return self._trouble(
                f"not tried: server {missing[0]} is not as desired", "Run for its host too, and fix it first."
            )
        if turn.founds and apart:
            problem = f"whether its cluster exists is unknown: host {apart[0]} is not part of this run"
            return self._trouble(problem, "Run for that host too.")
        if self._needs_server and hosts and apart == hosts:
            problem = f"a server of its cluster runs on host {apart[0]}, which is not part of this run"
            alone = turn.drain_seconds and turn.ready_seconds
            return self._trouble(
                problem, f"Run for that host too{', or set `drain: False`' if alone else ''}."
            )
        if turn.uncordon and not hosts:
            hint = f'Run "kubectl uncordon {turn.node}", and remove the file .cordoned beside its k3s.'
            return self._trouble("no server of its cluster is in the inventory to take it back", hint)
        return None

    def _run(self, state: State, host: Host, arguments: ConnectorArguments) -> None:
        """Run the commands in order, none after one that fails."""
        own = _Asked(host, self.step.guest, arguments)
        server: _Asked | None = None
        if self.turn.founds:
            self._found(state, own)
        elif self.turn.drain_seconds:
            server = self._server(state, own)
        for at_server, words, payload in self._commands():
            if at_server and not (server or self.outcome.troubles):
                # Not before: the node may be the only server, and down until it is started.
                server = self._server(state, own)
            where = server if at_server else own
            if where is None or self.outcome.troubles:
                continue
            program = Program(tuple(where.guest if word == _SERVER else word for word in words), payload)
            self._take(where.run(state, program), keeps_facts=words[0] != "change")
        if not self.outcome.troubles:
            done = ((self.step.verb, self.step.guest),)
            self.outcome = replace(self.outcome, done=done, changed=done)

    def _found(self, state: State, own: _Asked) -> None:
        """Take the trouble of a server that has joined a cluster already."""
        for asked in self._servers(state, own):
            if not self.outcome.troubles:
                self._take(asked.run(state, Program(("node", "k3s-founds", asked.guest))))

    def _server(self, state: State, own: _Asked) -> _Asked | None:
        """Return the first server that answers; take the trouble of the last if none does."""
        outcome = Outcome()
        for asked in self._servers(state, own):
            outcome = asked.run(state, Program(("node", "k3s-answers", asked.guest)))
            if not outcome.troubles:
                return asked
        if outcome.troubles:
            self._take(outcome)
        return None

    def _servers(self, state: State, own: _Asked) -> Iterator[_Asked]:
        """Yield the servers of the cluster that this run reaches."""
        for name, guest in self.turn.servers:
            host = state.inventory.get_host(name)
            if host.connected:
                arguments = own.arguments if host is own.host else _arguments_of(state, host)
                yield _Asked(host, guest, arguments)

    @property
    def _needs_server(self) -> bool:
        return bool(self.turn.drain_seconds or self.turn.uncordon or not self.turn.ready_seconds)

    def _take(self, outcome: Outcome, *, keeps_facts: bool = True) -> None:
        """Record a command's answer for this node's guest."""
        troubles = tuple(
            replace(item, verb=item.verb and self.step.verb, guest=self.step.guest)
            for item in outcome.troubles
        )
        facts = self.outcome.facts if keeps_facts else outcome.facts
        notes = tuple((self.step.guest, text) for _, text in outcome.notes)
        self.outcome = Outcome(notes=(*self.outcome.notes, *notes), troubles=troubles, facts=facts)

    def _commands(self) -> Iterator[tuple[bool, tuple[str, ...], str | None]]:
        """Yield the commands: whether a server of the cluster is asked, the words, and what they read."""
        guest, turn = self.step.guest, self.turn
        change = ("change", f"guest:{guest}", "--")
        leaves = not turn.ready_seconds
        if turn.drain_seconds and (turn.uncordon or leaves):
            yield False, (*change, "k3s-cordoned", guest, "yes"), None
        if turn.drain_seconds:
            stays = "yes" if leaves or not turn.uncordon else "no"
            yield True, ("node", "k3s-drain", _SERVER, turn.node, str(turn.drain_seconds), stays), None
        yield from self._leaving() if leaves else self._starting()
        if turn.uncordon:
            yield True, ("node", "k3s-uncordon", _SERVER, turn.node), None
            yield False, (*change, "k3s-cordoned", guest, "no"), None

    def _starting(self) -> Iterator[tuple[bool, tuple[str, ...], str | None]]:
        guest, turn, payload = self.step.guest, self.turn, self.step.payload or ""
        how = f"{'server' if turn.is_server else 'agent'}-{'founded' if turn.founds else 'joined'}"
        place = ("change", f"guest:{guest}", "--", "k3s-place", guest, *self.step.arguments)
        start = ("k3s-start", guest, how, turn.cluster, turn.node, str(len(payload.encode())))
        yield False, (*place, "--", *start), payload
        yield False, ("node", "k3s-await", guest, turn.node, str(turn.ready_seconds)), None

    def _leaving(self) -> Iterator[tuple[bool, tuple[str, ...], str | None]]:
        """Yield the commands by which a node leaves.

        A server is deleted while it runs: the last but one of etcd's members could not be removed once it is
        stopped, for the other one has no quorum. Its restart is disabled before. Until it stops it may
        register again: it is deleted twice.
        """
        guest, turn = self.step.guest, self.turn
        delete = (True, ("node", "k3s-delete-node", _SERVER, turn.node), None)
        change = ("change", f"guest:{guest}", "--")
        if turn.is_server and turn.servers:
            yield False, (*change, "k3s-hold", guest), None
            yield delete
        yield False, (*change, "k3s-leave", guest, "server" if turn.is_server else "agent"), None
        yield delete
        yield False, (*change, "k3s-unplace" if turn.removed else "k3s-left", guest), None

    def _trouble(self, problem: str, hint: str) -> Trouble:
        return Trouble(self.step.verb, self.step.guest, problem, hint)


_SERVER = "SERVER"
"""Stands in a command for the guest of the server that is asked."""


@dataclass(frozen=True)
class _Asked:
    """Where commands are run.

    + host: of pyinfra
    + guest: the server's name there, or the node's
    + arguments: how to become root there
    """

    host: Host
    guest: str
    arguments: ConnectorArguments

    def run(self, state: State, program: Program) -> Outcome:
        """Return the answer of a program."""
        with ctx_host.use(self.host):
            program.execute(state, self.host, self.arguments)
        return program.outcome


def _arguments_of(state: State, host: Host) -> ConnectorArguments:
    """Return how another host than that of the operation is reached, by its own data."""
    with ctx_host.use(host):
        given: dict[str, Any] = dict(pop_global_arguments(state, host, {})[0])
    arguments = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
    return cast("ConnectorArguments", arguments)
