"""Taking an answer apart, whatever became of it on its way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_nspawn.facts.base import (
    GarbledError,
    Part,
    decoded,
    decoded_name,
    not_understood,
    one_line,
    parse_answer,
    refuse_failed,
)
from tests.unit.answers import answer, cut, part, printed, value, word

STEADY = settings(deadline=None, derandomize=True)
WHOLE = answer(value("user", "0"), part("units", "Id=a\n", errors="a warning"), value("guest web"))


def only(lines: list[str]) -> Part:
    (found,) = parse_answer(answer(lines))
    return found


def test_an_answer():
    user, units, guest = parse_answer(WHOLE)
    assert user == Part(("user",), b"0")
    assert units == Part(("units",), b"Id=a\n", 0, b"a warning")
    assert (units.text, units.lines) == ("Id=a", ("Id=a",))
    assert (guest.words, guest.text, guest.lines) == (("guest", "web"), "", ())


@STEADY
@given(output=st.binary(), code=st.integers(0, 255), errors=st.binary())
def test_every_byte_arrives(output: bytes, code: int, errors: bytes):
    assert only(part("x", output, code, errors)) == Part(("x",), output, code, errors)


@STEADY
@given(lines=st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126))), code=st.integers(0, 255))
def test_every_line_arrives(lines: list[str], code: int):
    output = "".join(f"{line}\n" for line in lines)
    assert only(printed("x", *lines, code=code)) == only(part("x", output, code))


@pytest.mark.parametrize("code", ["", "x", "-1", "\u00b2", "1234", "9" * 65000])
def test_what_is_no_exit_code_is_no_answer(code: str):
    with pytest.raises(GarbledError, match="no exit code"):
        parse_answer([":: units", f">a\t{code}", ":: done"])


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_an_answer_that_broke_off_between_lines(end: int):
    with pytest.raises(GarbledError, match="broke off"):
        parse_answer(WHOLE[:end])


@STEADY
@given(st.data())
def test_an_answer_that_broke_off_anywhere_is_none(data: st.DataObject):
    text = "\n".join(WHOLE)
    with pytest.raises(GarbledError):
        parse_answer(text[: data.draw(st.integers(0, len(text) - 1))].split("\n"))


def test_an_answer_that_broke_off_within_a_word_says_so():
    with pytest.raises(GarbledError, match="broke off"):
        parse_answer([":: units", part("units", "Id=web")[1][:-3]])


@pytest.mark.parametrize(
    "noise",
    [
        ["Last login: Mon Jul 22", *WHOLE],
        [*WHOLE, "sh: 1: Cannot fork"],
        [*WHOLE[:1], "sudo: unable to resolve host lab1", *WHOLE[1:]],
        [":done", *WHOLE],
        ["|0", *WHOLE],  # a part without a header
    ],
)
def test_garbage_is_no_answer(noise: list[str]):
    with pytest.raises(GarbledError, match=r"^(unexpected output|output without a header): "):
        parse_answer(noise)


@pytest.mark.parametrize("text", ["<html>", "abc", "a===", "caf\u00e9", "+ +"])
def test_what_is_no_base64_is_no_answer(text: str):
    with pytest.raises(GarbledError, match="no base64"):
        parse_answer([":: units", f"+{text}", ":: done"])


def test_garbage_reaches_no_terminal_raw():
    with pytest.raises(GarbledError) as caught:
        parse_answer(["\x1b]0;owned\x07\x1b[2J"])
    assert not_understood(caught.value).reason.isprintable()


def test_the_line_ends_of_a_terminal():
    assert parse_answer([f"{line}\r" for line in WHOLE]) == parse_answer(WHOLE)
    assert parse_answer(["\r", "", *WHOLE, "\r"]) == parse_answer(WHOLE)


@pytest.mark.parametrize("said", [b"caf\xe9\n", b"a\0b\n", b"\xff\xfe", b"\x1b[2J", b"\n:: done\n|x\n+y\n"])
def test_no_byte_of_one_part_touches_another(said: bytes):
    first, *rest = parse_answer(answer(part("system web", said), *[WHOLE[:-1]]))
    assert first.output == said
    assert rest == parse_answer(WHOLE)
    assert isinstance(first.text, str)


def test_more_than_a_mebibyte_of_text():
    text = "x" * 2**20 + "\n" + "y" * 2**20
    assert only(part("file", text)).text == text


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"a line without its end",
        b"two lines\nhalf a li",
        b"lines\n",
        # What a guest printed may end in anything where it is cut, also in what passes for a number.
        b"lines\n" + b"9" * 65000,
        b"lines\n1234",
        b"lines\n\xb2",
        b"lines\n-1",
    ],
)
def test_what_was_cut_is_not_known_and_spoils_no_other_part(output: bytes):
    first, *rest = parse_answer(answer(cut("units-of web", output), *[WHOLE[:-1]]))
    assert (first.code, first.output, first.complaint) == (-1, b"", "too much output")
    assert rest == parse_answer(WHOLE)


def test_that_it_was_cut_counts_more_than_a_complaint():
    assert only(cut("x", "y" * 100, errors="GLib-GIO-CRITICAL")).complaint == "too much output"


def test_what_a_command_said_of_its_failure():
    assert (
        only(part("x", "out", 1, "error:\n\tno such\x1b[31m file\n")).complaint == "error: no such?[31m file"
    )
    assert only(part("x", "out\n", 1)).complaint == "out"
    assert only(part("x", "", 3)).complaint == "exit code 3"


@pytest.mark.parametrize("code", [124, 137])
def test_a_command_that_timed_out_says_so_whatever_it_had_printed(code: int):
    assert only(part("x", "half of what", code)).complaint == "timed out"
    assert only(part("x", "half of what", code, "Killed")).complaint == "timed out Killed"


def test_a_failed_part_is_refused_in_its_words():
    parts = parse_answer(answer(part("refs", "", 0, "a warning"), part("free /", "", 1, "df: no")))
    with pytest.raises(GarbledError, match=r"^free: df: no$"):
        refuse_failed(parts)
    refuse_failed(parts[:1])


@STEADY
@given(st.text())
def test_one_line_is_printable_and_short(text: str):
    line = one_line(text, 50)
    assert line.isprintable()
    assert len(line) <= 50


@STEADY
@given(st.binary())
def test_names_survive_as_the_bytes_they_are(name: bytes):
    assert decoded(word(name)) == name
    assert decoded_name(word(name)).encode(errors="surrogateescape") == name


@STEADY
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_plain_names_survive_as_they_are(name: str):
    assert decoded_name(f"={name}") == name
