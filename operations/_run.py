"""What all operations share: the memo of facts, how a plan is shown, and how it is carried out."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from pyinfra import logger
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state
from pyinfra.operations.util.files import generate_color_diff

from pyinfra_nspawn.facts.base import OfGuests
from pyinfra_nspawn.plans import Plan

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.facts import FactBase
    from pyinfra.api.host import Host

    from pyinfra_nspawn.plans import FileDiff, Step

T = TypeVar("T")
Commands = Generator[StringCommand, None, None]


@dataclass
class _Memory:
    """What is known of one host in one stage of a run.

    + facts: by class and arguments; a step drops those that it makes stale
    + stale: guests of which a fact must be read again, by the fact
    + others_changes: how many operations that are not ours had changed the host when they were read
    + ours: hashes of our own operations
    + troubled: guests of which a plan was refused or a step failed, and `_HOST`; nothing more is planned
      for them
    """

    stage: StateStage
    facts: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    stale: dict[type[FactBase[Any]], set[str]] = field(default_factory=dict)
    others_changes: int = 0
    ours: set[str] = field(default_factory=set)
    troubled: dict[str, None] = field(default_factory=dict)

    def forget(self, changed: tuple[type[FactBase[Any]], ...], guest: str) -> None:
        """Let these facts be read again: of one guest, or whole."""
        whole = {fact for fact in changed if not (guest and issubclass(fact, OfGuests))}
        self.facts = {key: value for key, value in self.facts.items() if key[0] not in whole}
        for fact in set(changed) - whole:
            self.stale.setdefault(fact, set()).add(guest)


_HOST = ""
"""What stands among the troubled guests for the host itself."""


_MEMORIES: WeakKeyDictionary[Host, _Memory] = WeakKeyDictionary()


def _host() -> Host:
    """Return the current host itself: pyinfra's `context.host` is a stand-in that changes with it."""
    found: Host = ctx_host.get()  # type: ignore[no-untyped-call]
    return found


def _state() -> State:
    found: State = ctx_state.get()  # type: ignore[no-untyped-call]
    return found


def _memory() -> _Memory:
    """Return the current host's memory; a stage (prepare, execute) begins with an empty one."""
    host, state = _host(), _state()
    memory = _MEMORIES.get(host)
    if memory is None or memory.stage != state.current_stage:
        memory = _MEMORIES[host] = _Memory(state.current_stage)
    return memory


def _others_changes(memory: _Memory) -> int:
    """Count the operations of somebody else that have changed this host in this run."""
    operations = _state().ops[_host()]
    return sum(
        data.operation_meta.is_complete() and data.operation_meta.did_change()
        for op_hash, data in operations.items()
        if op_hash not in memory.ours
    )


def seen(fact: type[FactBase[T]], **arguments: str) -> T:
    """Return a fact of the current host, read once and again only after something was changed.

    pyinfra itself reads a fact whenever it is asked for it.
    """
    memory = _memory()
    changes = _others_changes(memory)
    if changes != memory.others_changes:
        memory.facts.clear()
        memory.others_changes = changes
    key = (fact, *sorted(arguments.items()))
    stale = memory.stale.pop(fact, set())
    if key not in memory.facts:
        memory.facts[key] = _read(fact, **arguments)
    else:
        for guest in sorted(stale):
            memory.facts[key] = fact.merged(memory.facts[key], _read(fact, only=guest), guest)  # type: ignore[attr-defined]
    found: T = memory.facts[key]
    return found


def _read(fact: type[FactBase[T]], **arguments: str) -> T:
    """Read a fact; a host that gives no answer is told by the fact's default, `Unreadable`.

    pyinfra would take the host away at once, and stop with a traceback where it was the last one.
    """
    return _host().get_fact(fact, **arguments, _ignore_errors=True)


def carry_out(plan: Plan, otherwise: str, guest: str = _HOST) -> Commands:
    """Show a plan, then yield a command for each of its steps.

    + otherwise: what to say when there is nothing to do
    + guest: the guest that the plan is for; the host itself by default

    A refused plan is only told in the prepare stage, where a failure would stop the whole fleet; in
    the execute stage it fails the operation. After a refusal or a failure nothing more is planned for
    that guest, or on that host.
    """
    memory, host = _memory(), _host()
    memory.ours.add(host.current_op_hash or "")
    if {_HOST, guest} & memory.troubled.keys():
        host.noop("nothing is planned after a refusal or a failure")
        return
    tell(plan.notes)
    if plan.refusals:
        memory.troubled[_HOST if plan.of_host else guest] = None
        yield from _refuse(plan, memory)
    elif not plan.steps:
        host.noop(otherwise)
    else:
        _show_diffs(plan.diffs)
        for step in plan.steps:
            _say(step.text)
            # pyinfra does not come back after a command that failed, nor after a planned one.
            if memory.stage is StateStage.Execute:
                memory.troubled[guest] = None
            yield command(step)
            memory.troubled.pop(guest, None)
            memory.forget(step.changes, step.guest)


def fail_for_troubled_guests() -> Commands:
    """Fail the host, in the execute stage, when the run could not do all for one of its guests."""
    memory, host = _memory(), _host()
    memory.ours.add(host.current_op_hash or "")
    if memory.troubled and memory.stage is StateStage.Execute:
        guests = ", ".join(name for name in memory.troubled if name != _HOST)
        whose = f"guest {guests}: not" if guests else "not"
        sentence = f"{whose} as wanted, for the reason that is told above: mend it and run again"
        yield from _refuse(Plan(refusals=(sentence,)), memory)
    else:
        host.noop("no guest is in trouble")


def tell(notes: tuple[str, ...]) -> None:
    """Show the administrator what no step follows from."""
    for note in notes:
        _say(note, warn=True)


def _refuse(plan: Plan, memory: _Memory) -> Commands:
    _show_diffs(plan.diffs, always=True)
    if memory.stage is StateStage.Execute:
        sentences = [QuoteString(sentence) for sentence in plan.refusals]
        yield StringCommand("printf", "'%s\\n'", *sentences, ">&2;", "exit", "1")
        return
    tell(plan.refusals)
    _host().noop("refused")


def _say(text: str, *, warn: bool = False) -> None:
    # `%` in a value must not be taken for a placeholder of the logger's.
    (logger.warning if warn else logger.info)("%s", f"{_host().print_prefix}{text}")


def _show_diffs(diffs: tuple[FileDiff, ...], *, always: bool = False) -> None:
    for diff in diffs if always or _state().config.DIFF else ():
        _say(f"{diff.path}:")
        for line in generate_color_diff(list(diff.before), list(diff.after)):
            _say(line)


class _Script(StringCommand):
    """A command whose lines `note: ...` are told: by default pyinfra shows nothing that succeeds."""

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> Any:  # noqa: ANN401
        """Run it, and tell its notes; a script that fails says why, unless it was cut off."""
        status, output = super().execute(state, host, connector_arguments)
        if not status and output.stderr_lines[-1:] in ([], ["Killed"]):  # as a shell says of a child
            tell((_LOST,))
        marked = (line for line in output.stdout_lines if line.startswith("note: "))
        tell(tuple(line.removeprefix("note: ") for line in marked))
        return status, output


_LOST = "no answer: the host was lost, or the command was killed; see that the host is up, then run again"


def command(step: Step) -> StringCommand:
    """Return the command that runs a step's script on the host, in its /bin/sh.

    Values are arguments of the script, never text of it; file contents are its stdin. Raises
    `OperationValueError` for an argument that a program could take for an option.
    """
    for argument in step.arguments:
        if argument.startswith("-"):
            raise OperationValueError(f"{argument!r} begins with '-' and would be taken for an option")
    folder = files("pyinfra_nspawn.operations") / "scripts"
    upon = [part for part, scripts in _UPON.items() if step.script in scripts]
    text = "\n".join((folder / f"{part}.sh").read_text() for part in ("common", *upon, step.script))
    return _Script(
        *(("unshare", "--mount") if upon else ()),
        "sh",
        "-c",
        QuoteString(text),
        *(QuoteString(word) for word in (step.script, *step.arguments)),
        # pyinfra leaves an empty stdin open, and a script that reads it would wait for ever.
        *(() if step.stdin is not None else ("</dev/null",)),
        _stdin="" if step.stdin is None else f"{step.stdin}{_END}\n",
    )


# common.sh looks for it at the end of stdin, which ends early when the controller is killed.
_END = "# end of what was sent"

_IN_SHARED = frozenset({"stateroot-shared", "pull-shared", "deploy-shared", "adopt", "move", "removal"})
# What scripts build upon beside common.sh: those that write below /sysroot, which they make writable in a
# mount namespace of their own, and those of them that work upon the host's own sysroot.
_UPON = {"beside": _IN_SHARED | {"stateroot", "pull", "deploy"}, "shared": _IN_SHARED}
