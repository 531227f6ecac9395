"""Reading what became of the steps of one command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_nspawn.facts.outcome import Outcome, Trouble, parse_outcome
from tests.unit.answers import answer, cut, part, value

STEADY = settings(deadline=None, derandomize=True)
FACTS = [part("units", "Id=systemd-nspawn@web.service\n"), value("guest web")]


def test_steps_that_succeeded():
    found = parse_outcome(
        answer(
            value("step sysctl -", "changed"),
            value("step pull web", "changed"),
            value("step deploy web", "nothing"),
            part("note web", "it has deployed\nsomething itself"),
            part("note -", "the host"),
            *FACTS,
        )
    )
    assert found.changed == (("sysctl", ""), ("pull", "web"))
    assert found.notes == (("web", "it has deployed something itself"), ("", "the host"))
    assert found.troubles == ()
    assert [fact.words for fact in found.facts] == [("units",), ("guest", "web")]


def test_a_step_that_failed():
    found = parse_outcome(
        answer(
            value("step pull web", "changed"),
            part("journal db", "not of web\n"),
            part("journal web", "ssh.service: failed\n\x1b[31mred\x1b[0m\n"),
            part("trouble restart web", "web did not come up\nRun it again."),
            *FACTS,
        )
    )
    assert found.changed == (("pull", "web"),)
    journal = ("ssh.service: failed", "?[31mred?[0m")
    assert found.troubles == (Trouble("restart", "web", "web did not come up", "Run it again.", journal),)
    assert len(found.facts) == 2


def test_a_trouble_of_the_host():
    (found,) = parse_outcome(answer(part("trouble sysctl -", "no"))).troubles
    assert found == Trouble("sysctl", "", "no", "")


def test_troubles_of_several_guests():
    found = parse_outcome(
        answer(part("trouble await web", "a\nb"), part("trouble await db", "c\nd"))
    ).troubles
    assert [(item.guest, item.problem, item.hint) for item in found] == [("web", "a", "b"), ("db", "c", "d")]


@pytest.mark.parametrize("name", ["step", "note", "trouble", "journal", "units"])
def test_a_guest_named_like_a_part(name: str):
    found = parse_outcome(
        answer(
            value(f"step pull {name}", "changed"),
            part(f"trouble deploy {name}", "a\nb"),
            value(f"guest {name}"),
        )
    )
    assert found.changed == (("pull", name),)
    assert found.troubles == (Trouble("deploy", name, "a", "b"),)
    assert [fact.words for fact in found.facts] == [("guest", name)]


@pytest.mark.parametrize(
    "output",
    [
        [],
        ["sh: 1: Cannot fork"],
        answer(value("step pull web", "changed"))[:-1],
        # None of these is an answer of the program's.
        answer(value("step", "changed")),
        answer(value("step pull", "changed")),
        answer(part("trouble pull", "a\nb")),
        answer(part("note")),
        answer(part("journal")),
    ],
)
def test_an_answer_that_is_none_is_a_trouble_of_its_own(output: list[str]):
    found = parse_outcome(output)
    assert (found.changed, found.notes, found.facts) == ((), (), ())
    (trouble,) = found.troubles
    assert (trouble.verb, trouble.guest) == ("", "")
    assert trouble.problem.startswith("no answer (")
    assert trouble.problem.isprintable()
    assert trouble.hint


def test_what_stood_on_stderr_says_why_there_is_no_answer():
    (trouble,) = parse_outcome([], complaint="sudo: a password\n\x1b[1m is required\n").troubles
    assert trouble.problem == "no answer (sudo: a password ?[1m is required)"


def test_stderr_beside_a_whole_answer_is_no_trouble():
    assert parse_outcome(answer(*FACTS), complaint="a warning").troubles == ()


def test_an_answer_by_way_of_a_terminal():
    lines = answer(value("step pull web", "changed"), part("trouble deploy web", "a\nb"), *FACTS)
    assert parse_outcome([f"{line}\r" for line in lines]) == parse_outcome(lines)


@STEADY
@given(problem=st.binary(), note=st.binary(), journal=st.binary())
def test_whatever_is_said_is_printable(problem: bytes, note: bytes, journal: bytes):
    found = parse_outcome(
        answer(part("trouble try web", problem), part("note web", note), part("journal web", journal))
    )
    (trouble,) = found.troubles
    texts = [trouble.problem, trouble.hint, *trouble.journal, *(text for _, text in found.notes)]
    assert all(text.isprintable() for text in texts)


def test_a_trouble_that_was_cut_is_still_a_trouble():
    found = parse_outcome(answer(cut("trouble try web", "x" * 2**18), cut("journal web", "y")))
    assert found.troubles == (Trouble("try", "web", "too much output", ""),)


def test_nothing():
    assert parse_outcome(answer()) == Outcome()
