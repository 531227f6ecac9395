"""Carry out plans: show them, run their steps guest by guest, and fail the host when one is in trouble.

Every plan of a host is made from one look, before anything is changed. The steps of a guest are one command,
whose answer says what became of it. No guest's trouble keeps another from being tried.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations.util.files import generate_color_diff

from pyinfra_nspawn.facts.outcome import lost
from pyinfra_nspawn.operations._command import changes, wait
from pyinfra_nspawn.operations._local import local_files
from pyinfra_nspawn.operations._look import current_host, current_state, look, look_at_host
from pyinfra_nspawn.operations._order import Order
from pyinfra_nspawn.operations._program import TERMINAL, Failure
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.host import concerns_of, plan_host
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preflight import preflight
from pyinfra_nspawn.plans.remotes import with_remotes
from pyinfra_nspawn.reports.summary import summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyinfra_nspawn.facts.outcome import Outcome, Trouble
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.plans.guest import Stage
    from pyinfra_nspawn.plans.host import Concern
    from pyinfra_nspawn.plans.step import FileDiff, Step
    from pyinfra_nspawn.specs import Guest, HostSettings

Commands = Generator[PyinfraCommand, None, None]
_ROUNDS = 3
"""How often a guest is looked at again: what its first steps brought may call for more."""


@dataclass
class _Work:
    """One guest, or the host (""), while its plan is carried out.

    + replan: makes its plan from a snapshot
    + plan: the present one
    + changed: verbs of the steps that changed something
    + errors: findings for which its run fails
    + started: whether its start was ordered; that it is not up yet is waited for, and no step
    + turned: whether its turn is over; what its node is now is seen only when the guest is asked again
    """

    replan: Callable[[Snapshot], Plan]
    plan: Plan
    changed: list[str] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)
    started: bool = False
    turned: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that are run at once."""
        acting = (step for step in self.plan.steps if step.verb != "await")
        return tuple(step for step in acting if not (self.started and step.arguments == ("", "start")))

    @property
    def waits(self) -> tuple[Step, ...]:
        """The steps that only wait, for all guests together."""
        return tuple(step for step in self.plan.steps if step.verb == "await")


def converge_host(
    settings: HostSettings, guests: Sequence[Guest], concerns: Sequence[Concern], otherwise: str
) -> Commands:
    """Have the host as these concerns want it.

    + otherwise: what to say when there is nothing to do
    """

    def replan(snapshot: Snapshot) -> Plan:
        return plan_host(settings, guests, snapshot, concerns)

    snapshot = look_at_host()
    yield from _carry_out([_Work(replan, replan(snapshot))], snapshot, otherwise)


def converge_guests(
    guests: Sequence[Guest],
    stages: Sequence[Stage],
    otherwise: str,
    settings: HostSettings | None = None,
    *,
    probed: Sequence[Guest] = (),
    remotes: bool = False,
    order: Order | None = None,
) -> Commands:
    """Have all these guests as these stages want them.

    + otherwise: what to say when there is nothing to do
    + settings: with them the host is checked first, and nothing is done on one that is unfit; a host
      that is decommissioned loses our files after its guests
    + probed: guests in which to test the preconditions of k3s
    + remotes: ask the remotes of the guests' sources for the commits that they have now
    + order: in which guests are changed, and when no other is; by default each is
    """
    snapshot = replace(look(guests, probed=probed, remotes=remotes), local=local_files(guests))
    if settings and not current_state().is_executing:
        snapshot = with_remotes(snapshot, settings)  # by the operation on the host in the same run
    host = _host_work(settings, guests, snapshot) if settings else None
    works = []
    if host is None or not host.plan.errors:
        for guest in guests:

            def replan(seen: Snapshot, guest: Guest = guest) -> Plan:
                return plan_guest(guest, seen, stages)

            works.append(_Work(replan, replan(snapshot)))
    else:
        _report([_not_tried(guest) for guest in guests], snapshot)
    if host is not None:
        works.insert(len(works) if host.plan.steps else 0, host)
    yield from _carry_out(works, snapshot, otherwise, order)


def _host_work(settings: HostSettings, guests: Sequence[Guest], snapshot: Snapshot) -> _Work:
    """Return the work on the host: a check, and the last step of a host that is decommissioned."""
    concerns = (preflight,) if settings.state == "present" else concerns_of(settings)

    def replan(seen: Snapshot) -> Plan:
        return plan_host(settings, guests, seen, concerns)

    return _Work(replan, replan(snapshot))


def _not_tried(guest: Guest) -> _Work:
    """Return the work on a guest whose host is refused: none, and a row in the summary."""
    plan = Plan(guest.name)
    finding = Finding("unfit", "not tried: its host was refused", guest=guest.name, severity="error")
    return _Work(lambda _: plan, plan, errors=[finding])


def _carry_out(
    works: list[_Work], snapshot: Snapshot, otherwise: str, order: Order | None = None
) -> Commands:
    executing = current_state().is_executing
    for work in works:
        work.errors += work.plan.errors
        _announce(work.plan, executing=executing)
    if not executing:
        _preview(works)
        yield from _planned(works, snapshot, otherwise)
        return
    order = order or Order()
    for work in works:
        due = bool(work.steps) and not work.errors
        refusal = order.refusal(work.plan.guest, due=due)
        if refusal and due:
            _fail(work, [refusal])
        snapshot = yield from _run(work, snapshot)
        if not work.errors:
            order.done(work.plan.guest)
    waits = [step for work in works if not work.errors for step in work.waits]
    if waits:
        snapshot = yield from _wait(works, waits, snapshot)
    order.end()
    _report(works, snapshot)
    if any(work.errors for work in works):
        yield Failure()
    elif not any(work.changed for work in works) and not waits:
        current_host().noop(otherwise)


def _planned(works: list[_Work], snapshot: Snapshot, otherwise: str) -> Commands:
    """Tell pyinfra whether the plan holds a change; it comes no further than the first command."""
    _report(works, snapshot)
    if any(work.plan.steps for work in works):
        yield Failure()
    else:
        current_host().noop("refused" if any(work.errors for work in works) else otherwise)


def _preview(works: list[_Work]) -> None:
    """Show all steps in the order in which they are run: all guests are awaited together, at the end."""
    steps = (step for work in works for step in work.steps)
    # What several guests need is brought once.
    for step in {step.transfer or number: step for number, step in enumerate(steps)}.values():
        _show(step)
    for step in [step for work in works for step in work.waits]:
        _show(step)


def _run(work: _Work, snapshot: Snapshot) -> Generator[PyinfraCommand, None, Snapshot]:
    """Run a guest's steps until there are none; return the snapshot with what was answered."""
    for _ in range(_ROUNDS):
        if not work.steps or work.errors:
            return snapshot
        snapshot = yield from _run_once(work, snapshot)
    if work.steps and not work.errors:
        _fail(work, [_not_converged(work)])
    return snapshot


def _run_once(work: _Work, snapshot: Snapshot) -> Generator[PyinfraCommand, None, Snapshot]:
    """Run a guest's steps, in one command where they can be, and plan again from the answer."""
    before = work.steps
    for step in before:
        _show(step)
    for program in changes(before):
        yield program
        snapshot = snapshot.updated(program.outcome.facts)
        _take(work, program.outcome)
        if work.errors:
            break
    if not work.errors:
        work.started = work.started or any(map(_starts, before))
        work.turned = work.turned or any(step.turn for step in before)
        work.plan = _after_turn(work.replan(snapshot)) if work.turned else work.replan(snapshot)
        _fail(work, work.plan.errors or ([_not_converged(work)] if work.steps == before else []))
    return snapshot


def _after_turn(plan: Plan) -> Plan:
    """Return a plan without the findings and steps of a node that were made before its turn."""
    return replace(
        plan,
        findings=tuple(finding for finding in plan.findings if finding.field != "k3s"),
        steps=tuple(step for step in plan.steps if not step.turn),
    )


def _wait(
    works: list[_Work], waits: Sequence[Step], snapshot: Snapshot
) -> Generator[PyinfraCommand, None, Snapshot]:
    """Wait for all guests that were started, together."""
    for step in waits:
        _show(step)
    program = wait(waits)
    yield program
    snapshot = snapshot.updated(program.outcome.facts, sysroots=False)
    for work in works:
        if not work.waits or work.errors:
            continue
        _take(work, program.outcome)
        if not work.errors and ("await", work.plan.guest) not in program.outcome.done:
            _fail(work, [_failed(lost("it does not speak of this guest"), work.plan.guest)])
        if not work.errors:
            work.plan = work.replan(snapshot)
            stopped = any(map(_starts, work.plan.steps))
            _fail(work, work.plan.errors or ([_not_converged(work)] if stopped else []))
    return snapshot


def _take(work: _Work, outcome: Outcome) -> None:
    """Take over what an answer says of one guest, and show its notes."""
    guest = work.plan.guest
    work.changed += [verb for verb, name in outcome.changed if name == guest]
    for name, text in outcome.notes:
        if name == guest:
            _say(f"{guest}: {text}" if guest else text, warn=True)
    for trouble in outcome.troubles:
        if trouble.guest == guest or not trouble.verb:
            for line in trouble.journal:
                _say(f"  {line}", error=True)
            _fail(work, [_failed(trouble, guest)])


def _fail(work: _Work, errors: Iterable[Finding]) -> None:
    """Have the run fail for these, and show them."""
    for error in errors:
        work.errors.append(error)
        _say(str(error), error=True)


def _starts(step: Step) -> bool:
    return step.verb == "unit" and step.arguments[-1] == "start"


def _failed(trouble: Trouble, guest: str) -> Finding:
    kind: Kind = "failed" if trouble.verb else "impossible" if trouble is TERMINAL else "unreachable"
    return Finding(kind, trouble.problem, trouble.hint, guest=guest, field=trouble.verb, severity="error")


def _not_converged(work: _Work) -> Finding:
    return Finding(
        "failed",
        "the steps succeeded and the same steps are still due",
        "Look at the host, then run again.",
        guest=work.plan.guest,
        field=work.plan.steps[0].verb,
        severity="error",
    )


def _announce(plan: Plan, *, executing: bool) -> None:
    """Show the notes and errors of a plan, but for those that an operation before has shown."""
    for note in filter(_is_news, plan.notes):
        _say(str(note), warn=True)
    for error in filter(_is_news, plan.errors):
        _say(str(error), warn=not executing, error=executing)
    _show_diffs(plan.diffs, always=True)


def _is_news(finding: Finding) -> bool:
    state = current_state()
    stage = "run" if state.is_executing else "plan"
    return summary_of(state).is_news(current_host().name, finding, stage, _operation())


def _report(works: Iterable[_Work], snapshot: Snapshot) -> None:
    report = summary_of(current_state())
    for work in works:
        report.add(
            current_host().name, work.plan, snapshot, work.changed, work.errors, operation=_operation()
        )


def _operation() -> str:
    return current_host().current_op_hash or ""


def _show(step: Step) -> None:
    _say(step.text)
    _show_diffs(step.diffs)


def _say(text: str, *, warn: bool = False, error: bool = False) -> None:
    log = logger.error if error else logger.warning if warn else logger.info
    # `%` in a value must not be taken for a placeholder of the logger's.
    log("%s", f"{current_host().print_prefix}{text}")


def _show_diffs(diffs: tuple[FileDiff, ...], *, always: bool = False) -> None:
    for diff in diffs if always or current_state().config.DIFF else ():
        _say(f"{diff.path}:")
        for line in generate_color_diff(_printable(diff.before), _printable(diff.after)):
            _say(line)


def _printable(lines: Iterable[str]) -> list[str]:
    """Return lines of a file that may not be ours: no control sequence of it must reach a terminal."""
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in lines]
