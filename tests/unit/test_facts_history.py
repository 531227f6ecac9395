"""Parsing of what a host's journal says of changes; tests/cases has recorded answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactValueError

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.history import MOST, Change, History
from tests.unit.answers import answer, cut, part

OURS = {"VERB": "unit", "GUEST": "web", "RESULT": "changed", "BY": "ada@x", "LOGIN": "bo", "VERSION": "1"}


def entry(without: str = "", **changed: Any) -> str:
    fields = {**OURS, **changed}
    own = {f"PYINFRA_NSPAWN_{name}": found for name, found in fields.items() if name != without}
    return json.dumps({"__REALTIME_TIMESTAMP": "1000001", "_UID": "0", **own})


def read(*lines: str) -> tuple[Change, ...] | Unreadable:
    return History().process(answer(part("history", "".join(f"{line}\n" for line in lines))))


def changes(*lines: str) -> tuple[Change, ...]:
    seen = read(*lines)
    assert isinstance(seen, tuple), seen
    return seen


def test_an_entry():
    (seen,) = changes(entry())
    assert seen == Change("1970-01-01T00:00:01.000001+00:00", "unit", "web", "changed", "ada@x", "bo", "1")


def test_a_step_of_the_host_has_no_guest():
    (seen,) = changes(entry(GUEST="-"))
    assert seen.guest == ""


@pytest.mark.parametrize("name", ["VERB", "GUEST", "RESULT"])
def test_an_entry_that_is_not_ours_is_skipped(name: str):
    assert changes(entry(without=name), entry(), entry(**{name: ""})) == changes(entry())
    assert changes(entry(RESULT="forged")) == ()


def test_an_entry_that_does_not_say_who_is_one_all_the_same():
    (seen,) = changes(json.dumps({k: v for k, v in json.loads(entry()).items() if "_BY" not in k}))
    assert seen.by == ""


@pytest.mark.parametrize(
    "line",
    ["", "x", "[]", "1", '"a"', "{}", entry()[:-1], "[" * 100_000, entry(BY={"a": 1}), entry(BY=[256])],
)
def test_a_line_that_is_no_entry_makes_all_unreadable(line: str):
    seen = read(entry(), line, entry())
    assert isinstance(seen, Unreadable)
    assert seen.reason.isprintable()


@pytest.mark.parametrize("time", ["", "x", "9" * 30, "9" * 5000, None, []])
def test_a_time_that_is_none_is_unreadable(time: object):
    line = json.dumps({**json.loads(entry()), "__REALTIME_TIMESTAMP": time})
    assert isinstance(read(line), Unreadable)


_VALUES = st.one_of(st.none(), st.text(), st.lists(st.integers(0, 255)), st.lists(st.text()))


@settings(deadline=None, derandomize=True)
@given(verb=_VALUES, guest=_VALUES, by=_VALUES)
def test_whatever_is_in_a_field_is_shown_in_one_printable_line(verb: object, guest: object, by: object):
    for seen in changes(entry(VERB=verb, GUEST=guest, BY=by)):
        assert all(text.isprintable() for text in seen.to_json().values())


def test_what_is_not_whole_is_unreadable():
    assert History().process([]) == Unreadable("the answer broke off")
    assert History().process(answer(cut("history", entry()))) == Unreadable("too much output")
    assert History().process(answer(part("history", "", 124))) == Unreadable("timed out")
    assert isinstance(History().process(answer()), Unreadable)
    assert isinstance(History.default(), Unreadable)


@pytest.mark.parametrize("limit", [0, -1, MOST + 1, "x", "", "1;id", 1.5, True, None])
def test_a_limit_that_is_none_is_refused(limit: object):
    with pytest.raises(FactValueError, match="limit must be a number"):
        History().command(limit)


def test_the_most_entries_fit_into_an_answer():
    """With the longest names that are recorded, and what journalctl adds: see host/answer.sh, CAP."""
    longest = entry(GUEST="g" * 64, BY="b" * 129, LOGIN="l" * 64, VERSION="1" * 20)
    assert MOST * (len(longest) + 360) < 262144
