"""Operations as pyinfra runs them: signatures, the commands that they send, what they make of answers."""

from __future__ import annotations

import ast
import base64
import gzip
import inspect
import pkgutil
import shlex
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from paramiko import SSHException
from pyinfra.api import Config, Inventory, State
from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import OperationValueError, PyinfraError
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from pyinfra_nspawn import __version__, operations
from pyinfra_nspawn.facts.program import text as program_text
from pyinfra_nspawn.operations import host, nspawn, ostree
from pyinfra_nspawn.operations._command import change, wait
from pyinfra_nspawn.operations._program import TERMINAL, controller
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.reports.summary import Row, Summary, summary_of
from pyinfra_nspawn.specs import Artifact, Bridge, Guest, HostSettings, K3s
from tests.unit.answers import answer, file_header, part, value
from tests.unit.fleet import (
    ABC,
    FIT,
    STEPS,
    WEB,
    Seen,
    guest_parts,
    host_parts,
    running,
    steps,
    stopped,
    sysroot_parts,
    unknown,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

(GUEST,) = wanted([WEB])
A, B, C = wanted(ABC)
SETTINGS = "/etc/systemd/nspawn/web.nspawn"
PUBLIC = [
    function
    for module in pkgutil.iter_modules(operations.__path__, f"{operations.__name__}.")
    for function in vars(import_module(module.name)).values()
    if getattr(function, "is_idempotent", None) is not None
]


# Signatures and documentation


def test_all_operations_are_looked_at():
    assert len(PUBLIC) >= 14


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_no_parameter_of_an_operation_shadows_a_global_argument(function):
    reserved = {name for name, _ in all_global_arguments()}
    assert not reserved & set(inspect.signature(function).parameters)


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_each_operation_has_an_example_that_calls_it(function):
    _, _, example = inspect.getdoc(function).partition("**Example:**\n\n.. code:: python\n")
    (expression,) = ast.parse(inspect.cleandoc(example)).body
    call = expression.value
    module = function.__module__.rpartition(".")[2]
    assert ast.unparse(call.func) == f"{module}.{function.__name__}"
    specs = (Artifact, Bridge, Guest, HostSettings, K3s)
    names = {spec.__name__: spec for spec in specs}
    arguments = {word.arg: eval(ast.unparse(word.value), names) for word in call.keywords}
    assert not call.args
    assert arguments.pop("name")
    inspect.signature(function).bind(**arguments)


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_each_parameter_is_documented(function):
    documented = inspect.getdoc(function)
    for name in inspect.signature(function).parameters:
        assert f"\n+ {name}: " in documented


# Commands


def call_of(command: str) -> list[str]:
    """Return the words of the program's `main` in a command, without those that say who asks."""
    words = whole_call_of(command)
    return words[4:] if words[0] == "--by" else words


def whole_call_of(command: str) -> list[str]:
    word = command.split("`echo ")[1].split("|", maxsplit=1)[0]
    return shlex.split(gzip.decompress(base64.b64decode(word)).decode().splitlines()[-1])[1:]


def test_steps_are_sent_in_order_with_the_scopes_that_they_change():
    program = change(
        [Step("", "stateroot", "web", ("private",)), Step("", "deploy", "web", ("", "x"), sysroot=True)]
    )
    assert call_of(str(program)) == [
        *("change", "guest:web", "sysroot"),
        *("--", "stateroot", "web", "private", "--", "deploy", "web", "", "x"),
    ]
    assert program.connector_arguments == {"_stdin": ""}


def test_a_step_of_the_host_has_no_guest():
    program = change([Step("", "sysctl", arguments=("/etc/x", "9"), payload="x\n")])
    assert call_of(str(program)) == ["change", "host", "--", "sysctl", "-", "/etc/x", "9", "2"]


@pytest.mark.parametrize("argument", ["-", "--", "-rf", "--option=x"])
def test_an_argument_that_could_be_an_option_is_refused(argument):
    with pytest.raises(OperationValueError, match="begins with '-'"):
        change([Step("", "pull", "web", ("private", argument))])


def test_payloads_are_framed_by_their_bytes():
    texts = ("ü€😀\n", "", "plain\n")
    program = change([Step("", "definition", "web", ("",), payload=text) for text in texts])
    words = call_of(str(program))
    assert [word for word, before in zip(words[4:], words[3:], strict=False) if before == ""] == [
        "10",
        "0",
        "6",
    ]
    sent = program.connector_arguments["_stdin"]
    assert sent.encode() == b"".join(text.encode() for text in texts)


def test_a_step_that_outlives_the_connection_sends_the_program_before_its_payload():
    before = Step("", "definition", "web", ("",), payload="é\n")
    program = change([before, Step("", "try", "web", ("9",), payload="ö\n", program=True), before])
    text = program_text()
    assert call_of(str(program)) == [
        *("change", "guest:web", "--", "definition", "web", "", "3"),
        *("--", "try", "web", "9", str(len(text.encode())), "3", "--", "definition", "web", "", "3"),
    ]
    assert program.connector_arguments["_stdin"] == f"é\n{text}ö\né\n"


def test_no_payload_is_in_the_command():
    program = change([Step("", "definition", "web", ("",), payload="hunter2\n")])
    assert "hunter2" not in " ".join(call_of(str(program)))


def test_guests_are_awaited_in_one_command():
    program = wait([Step("", "await", name, ("9", "fail")) for name in "ab"])
    assert call_of(str(program)) == ["await", "a", "9", "fail", "b", "9", "fail"]


def test_a_change_and_a_wait_say_who_asks_and_with_which_version(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr("socket.gethostname", lambda: "laptop.example")
    controller.cache_clear()
    for program in (change([Step("", "remove", "web", ("",))]), wait([Step("", "await", "a", ("9",))])):
        assert whole_call_of(str(program))[:4] == ["--by", "ada@laptop.example", "--version", __version__]
    controller.cache_clear()


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("EXAMPLE\\ada", "EXAMPLE?ada"),
        ("a'b\"c\nMESSAGE=$HOME `id`", "a?b?c?MESSAGE??HOME??id?"),
        ("\x1b[2Jä\udce9", "??2J??"),
        ("x" * 1000, "x" * 64),
        ("", "?"),
        (KeyError("getpwuid(): uid not found: 4711"), "?"),
        (OSError("No username set in the environment"), "?"),
    ],
)
def test_a_strange_user_of_the_controller_is_one_bounded_plain_word(monkeypatch, user, said):
    def getuser():
        if isinstance(user, Exception):
            raise user
        return user

    monkeypatch.setattr("getpass.getuser", getuser)
    monkeypatch.setattr("socket.gethostname", lambda: "h")
    controller.cache_clear()
    assert controller() == f"{said}@h"
    controller.cache_clear()


# Runs


@dataclass
class Fleet:
    """A host whose program answers by a function, beside another that nothing is done on.

    + respond: what it answers to the words of a call; an exception is raised
    + calls: the words of all calls; stdins: what was sent with them
    """

    respond: Callable[[list[str]], object]
    calls: list[list[str]] = field(default_factory=list)
    stdins: list[str] = field(default_factory=list)
    summary: Summary | None = None
    failed: bool = False

    def take(self, command: object, **arguments: object) -> tuple[bool, CommandOutput]:
        self.calls.append(call_of(str(command)))
        self.stdins.append(arguments.get("_stdin") or "")
        found = self.respond(self.calls[-1])
        if isinstance(found, BaseException):
            raise found
        if isinstance(found, str):
            return False, CommandOutput([OutputLine("stderr", found)])
        return True, CommandOutput([OutputLine("stdout", line) for line in found])

    def modes(self) -> list[str]:
        return [words[0] for words in self.calls]

    def rows(self) -> dict[str, Row]:
        return {row.guest: row for row in self.summary.rows}

    def errors(self) -> list[Finding]:
        """Return the errors that the run came upon."""
        records = [record for records in self.summary._records.values() for record in records.values()]
        return [error for record in records for error in record.errors]


@pytest.fixture
def fleet(monkeypatch):
    """Return a function that plans and runs an operation upon a host that answers by a function."""
    monkeypatch.setattr("atexit.register", lambda *_: None)

    def start(respond, function=nspawn.each_guest, *, execute=True, **arguments) -> Fleet:
        found = Fleet(respond)
        monkeypatch.setattr(FakeConnector, "run_shell_command", lambda _, *a, **k: found.take(*a, **k))
        state = State(Inventory((["@fake/one", "@fake/other"], {})), Config())
        connect_all(state)
        (one,) = (host for host in state.inventory if host.name == "@fake/one")
        add_op(state, function, host=one, **arguments)
        found.summary = summary_of(state)
        if execute:
            found.calls.clear()
            run_ops(state)
            found.failed = one in state.failed_hosts
        return found

    return start


def look(guests: Iterable[Seen], *sysroots: str, facts: dict[str, str] | None = None) -> list[str]:
    """Answer a look: a fit host with these guests, and these of them deployed."""
    own = [lines for name in sysroots for lines in sysroot_parts(name, name)]
    return answer(*host_parts(facts or FIT), *sysroot_parts("/", "fedora"), *own, *guest_parts(guests))


def after(*made: Seen, names: Iterable[str] = ("web",), did: Iterable[list[str]] = ()) -> list[str]:
    """Answer a change."""
    own = [lines for name in names for lines in sysroot_parts(name, name)]
    return answer(*did, *own, *guest_parts(made))


def each(*guests: Guest) -> dict[str, object]:
    return {"settings": HostSettings(), "guests": guests}


def by_mode(**answers: object) -> Callable[[list[str]], object]:
    return lambda words: answers[words[0]]


MADE = by_mode(
    facts=look([unknown("web")]),
    change=after(running(GUEST, "starting"), did=steps([GUEST])),
    **{"await": after(running(GUEST), did=[value("step await web", "nothing")])},
)


def test_a_new_guest_takes_three_commands(fleet):
    found = fleet(MADE, **each(GUEST))
    assert found.modes() == ["facts", "change", "await"]
    assert not found.failed
    assert found.rows()["web"].result == f"done: {', '.join(STEPS)}"


def test_a_plan_takes_one_command_and_changes_nothing(fleet):
    found = fleet(MADE, execute=False, **each(GUEST))
    assert found.modes() == ["facts"]
    assert found.rows()["web"].result == f"due: {', '.join(STEPS)}, await"


def test_a_guest_that_is_as_desired_takes_one_command(fleet):
    found = fleet(by_mode(facts=look([running(GUEST)], "web")), **each(GUEST))
    assert found.modes() == ["facts"]
    assert not found.failed
    assert found.rows()["web"].result == "nothing to do"


def test_a_terminal_gets_no_payload_and_is_refused_with_a_hint(fleet):
    found = fleet(MADE, **each(GUEST), _get_pty=True)
    assert found.modes() == ["facts"]
    assert not any(found.stdins)
    assert found.failed
    row = found.rows()["web"]
    assert row.result.startswith("a terminal (`_get_pty`) echoes and cuts what is sent")
    assert "Remove `_get_pty` from the inventory" in row.result


def test_over_a_terminal_what_has_no_payload_is_done(fleet):
    guest = GUEST.model_copy(update={"state": "stopped"})
    stop = answer(
        value("step unit web", "changed"), *sysroot_parts("web", "web"), *guest_parts([stopped(GUEST)])
    )
    respond = by_mode(facts=look([running(guest)], "web"), change=stop)
    found = fleet(respond, nspawn.unit, guest=guest, _get_pty=True)
    assert found.modes() == ["facts", "change"]
    assert found.rows()["web"].result == "done: unit"


REFUSED_BY_OSTREE = {"web": ("deploy", "error: No space left on device", "Free space.")}
AFTER = after(unknown("web"), did=steps([GUEST], REFUSED_BY_OSTREE))
RUN_KINDS = {
    "failed": (
        by_mode(facts=look([unknown("web")]), change=AFTER),
        {},
        ("deploy", "error: No space left on device", "Free space."),
    ),
    "unreachable": (
        by_mode(facts=look([unknown("web")]), change=OSError("Socket is closed")),
        {},
        (
            "",
            "no answer (Socket is closed)",
            "The host was lost or the command killed: check it, then run again.",
        ),
    ),
    "impossible": (MADE, {"_get_pty": True}, ("", TERMINAL.problem, TERMINAL.hint)),
}


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_what_goes_wrong_in_a_run_is_a_finding_too(fleet, kind):
    respond, arguments, (field_, problem, hint) = RUN_KINDS[kind]
    (error,) = fleet(respond, **each(GUEST), **arguments).errors()
    assert error == Finding(kind, problem, hint, guest="web", field=field_, severity="error")


GONE = (
    SSHException("SSH session not active"),
    OSError("Socket is closed"),
    EOFError(),
    TimeoutError(),
    PyinfraError("Failed to create sudo_askpass command"),
)


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_host_that_is_lost_at_the_look_is_refused(fleet, error):
    found = fleet(by_mode(facts=error), **each(GUEST))
    reason = str(error) or type(error).__name__
    assert found.failed
    assert found.rows()[""].result.startswith(f"the host could not be read: {reason}. ")


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_where_a_change_is_lost_the_other_guests_are_tried(fleet, error):
    changes = iter(
        [after(*(running(guest, "starting") for guest in (A,)), names="a", did=steps([A])), error, error]
    )
    respond = lambda words: next(changes) if words[0] == "change" else answers[words[0]]  # noqa: E731
    answers = {
        "facts": look([unknown(name) for name in "abc"]),
        "await": after(running(A), did=[value("step await a", "nothing")]),
    }
    found = fleet(respond, **each(A, B, C))
    assert found.modes() == ["facts", "change", "change", "change", "await"]
    assert found.failed
    rows = found.rows()
    assert rows["a"].result == f"done: {', '.join(STEPS)}"
    for name in "bc":
        assert rows[name].result.startswith(f"no answer ({str(error) or type(error).__name__}). ")
        assert rows[name].failed


def test_a_lost_wait_fails_all_that_were_awaited_and_no_other(fleet):
    made = [running(A, "starting"), running(B, "starting"), running(C)]
    respond = by_mode(facts=look(made, *"abc"), **{"await": OSError("Connection reset by peer")})
    rows = fleet(respond, **each(A, B, C)).rows()
    assert [rows[name].failed for name in "abc"] == [True, True, False]


def test_a_start_that_waits_for_another_guest_is_awaited_and_not_ordered_twice(fleet):
    """systemd starts one guest after another: the second is inactive when the first command ends."""
    queued = stopped(GUEST)
    answers = {
        "facts": look([replace(queued)], "web"),
        "change": after(queued, did=[value("step unit web", "changed")]),
        "await": after(running(GUEST), did=[value("step await web", "nothing")]),
    }
    found = fleet(by_mode(**answers), **each(GUEST))
    assert found.modes() == ["facts", "change", "await"]
    assert not found.failed
    assert found.rows()["web"].result == "done: unit"


def test_a_guest_that_stops_again_is_not_as_desired(fleet):
    answers = {
        "facts": look([stopped(GUEST)], "web"),
        "change": after(running(GUEST, "starting"), did=[value("step unit web", "changed")]),
        "await": after(stopped(GUEST), did=[value("step await web", "nothing")]),
    }
    found = fleet(by_mode(**answers), **each(GUEST))
    assert found.failed
    assert "the same steps are still due" in found.rows()["web"].result


def test_steps_that_succeed_and_change_nothing_fail_the_host(fleet):
    did = [value(f"step {verb} web", "changed") for verb in STEPS]
    answers = {"facts": look([unknown("web")]), "change": answer(*did, *guest_parts([unknown("web")]))}
    found = fleet(by_mode(**answers), **each(GUEST))
    assert found.modes() == ["facts", "change"]
    assert found.failed
    assert "the same steps are still due" in found.rows()["web"].result


def test_steps_without_end_fail_the_host(fleet):
    """Each answer calls for other steps than the one before."""
    disabled, bare = stopped(GUEST, UnitFileState="disabled"), stopped(GUEST, DropInPaths="")
    bare = replace(bare, parts=tuple(lines for lines in bare.parts if not lines[0].startswith(":: file")))
    turns = iter([after(disabled), after(bare), after(disabled)])
    found = fleet(
        lambda words: next(turns) if words[0] == "change" else look([unknown("web")]), **each(GUEST)
    )
    assert found.modes() == ["facts", "change", "change", "change"]
    assert found.failed


def test_what_an_earlier_step_brings_to_light_is_done_in_the_same_run(fleet):
    left = value("trial web", "interrupted")
    turns = iter(
        [
            after(stopped(GUEST), did=[value("step recover web", "changed")]),
            after(running(GUEST), did=[value("step unit web", "changed")]),
        ]
    )
    respond = lambda words: (  # noqa: E731
        next(turns) if words[0] == "change" else look([stopped(GUEST).with_parts(left)], "web")
    )
    found = fleet(respond, **each(GUEST))
    assert [call[3:5] for call in found.calls[1:]] == [["recover", "web"], ["unit", "web"]]
    assert not found.failed
    assert found.rows()["web"].result == "done: recover, unit"


def test_an_unfit_host_is_not_asked_to_do_anything(fleet):
    found = fleet(by_mode(facts=look([unknown("web")], facts={**FIT, "ostree-booted": "no"})), **each(GUEST))
    assert found.modes() == ["facts"]
    assert found.failed
    assert found.rows()["web"].result == "not tried: its host was refused."


def test_an_answer_that_does_not_speak_of_an_awaited_guest_is_none(fleet):
    made = [running(A, "starting"), running(B, "starting")]
    settled = answer(value("step await a", "nothing"), *guest_parts([running(A)]))
    rows = fleet(by_mode(facts=look(made, *"ab"), **{"await": settled}), **each(A, B)).rows()
    assert [rows[name].failed for name in "ab"] == [False, True]


def test_notes_of_the_program_and_of_the_plan_are_shown(fleet, caplog):
    note = part("note web", "the default moved\x1b[2J, and was set back")
    respond = by_mode(
        facts=look([stopped(GUEST)], "web"),
        change=after(running(GUEST), did=[value("step unit web", "changed"), note]),
    )
    fleet(respond, **each(GUEST))
    assert "web: the default moved?[2J, and was set back" in caplog.text


def test_a_foreign_file_reaches_a_terminal_without_control_sequences(fleet, caplog):
    caplog.set_level("INFO", logger="pyinfra")
    foreign = unknown("web", part(file_header("web", SETTINGS), "[Exec]\n\x1b]0;owned\x07\n"))
    found = fleet(by_mode(facts=look([foreign])), execute=False, **each(GUEST))
    assert found.rows()["web"].failed
    assert "?]0;owned?" in caplog.text
    assert "\x1b]0" not in caplog.text


OF_A_GUEST = [
    *(nspawn.adopt, nspawn.definition, nspawn.unit, nspawn.absent),
    *(ostree.stateroot, ostree.commit, ostree.deployment, ostree.current),
]


@pytest.mark.parametrize("function", OF_A_GUEST, ids=lambda function: function.__name__)
def test_each_operation_of_a_guest_has_nothing_to_do_where_all_is_as_desired(fleet, function):
    guest = GUEST.model_copy(update={"state": "absent"}) if function is nspawn.absent else GUEST
    seen, own = ([unknown("web")], ()) if function is nspawn.absent else ([running(GUEST)], ("web",))
    found = fleet(by_mode(facts=look(seen, *own)), function, guest=guest)
    assert found.modes() == ["facts"]
    assert not found.failed


def test_each_operation_of_a_host_has_nothing_to_do_where_all_is_as_desired(fleet):
    respond = by_mode(facts=answer(*host_parts(FIT), *sysroot_parts("/", "fedora")))
    for function in (host.fit_for_guests, host.preflight):
        assert fleet(respond, function, settings=HostSettings(), guests=(GUEST,)).modes() == ["facts"]
    for function in (host.container_package, host.selinux):
        assert fleet(respond, function, settings=HostSettings()).modes() == ["facts"]
    assert fleet(respond, host.inotify, guests=(GUEST,)).modes() == ["facts"]
    assert fleet(respond, host.machines_target).modes() == ["facts"]
