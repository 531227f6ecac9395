"""A reader of systemd's own syntax: what unit files and .nspawn files say to systemd.

It follows systemd.syntax(7), systemd.service(5), systemd.nspawn(5) and what their readers do, not what we
write. It is stricter than they are: what systemd would warn of and ignore raises ValueError.
"""

import re
from collections.abc import Iterator

WHITESPACE = " \t\n\r"
LINE_END = re.compile("[\n\r\0]")
"""What ends a line to systemd; Python's splitlines() knows more."""

_ESCAPES = dict(zip("abfnrtv\\\"'s", "\a\b\f\n\r\t\v\\\"' ", strict=True))
_QUOTED = re.compile(r"""(["'])(\\.|(?!\1).)*\1""")


def sections(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a file's sections in order, each with its assignments in order."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in _lines(text):
        header = re.fullmatch(r"\[([^]]+)\]", line)
        key, equals, value = line.partition("=")
        if header:
            found.append((header[1], []))
        elif found and equals:
            found[-1][1].append((key.strip(WHITESPACE), value.strip(WHITESPACE)))
        else:
            raise ValueError(f"neither a section nor an assignment in one: {line!r}")
    return found


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that say something, each with those that continue it."""
    begun = ""
    for line in LINE_END.split(text):
        if line.lstrip(WHITESPACE).startswith(("#", ";")):
            continue  # a comment, even between a line and what continues it
        begun += line
        if (len(begun) - len(begun.rstrip("\\"))) % 2:
            begun = begun[:-1] + " "
            continue
        if not all(map(known, begun)):
            raise ValueError(f"systemd drops what is no UTF-8 to it: {begun!r}")
        if begun.strip(WHITESPACE):
            yield begun.strip(WHITESPACE)
        begun = ""
    if begun:
        raise ValueError(f"continued by nothing: {begun!r}")


def known(character: str) -> bool:
    """Whether systemd takes a character for one: surrogates and Unicode's noncharacters it does not."""
    code = ord(character)
    return not (0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE)


def words(value: str, *, escapes: bool) -> list[str]:
    """Split a value as systemd's extract_first_word() does when it takes away quotes, which join.

    + escapes: whether a backslash begins a C-style escape, as in unit files, or is a character like any
      other, as in .nspawn files (EXTRACT_RETAIN_ESCAPE)
    """
    found: list[str] = []
    quote, between = "", True
    for character, literal in _characters(value, escapes=escapes):
        if not (literal or quote) and character in WHITESPACE:
            between = True
            continue
        if between:
            found.append("")
            between = False
        if not literal and character == quote:
            quote = ""
        elif not (literal or quote) and character in "\"'":
            quote = character
        else:
            found[-1] += character
    if quote:
        raise ValueError(f"unbalanced quotes: {value!r}")
    return found


def _characters(value: str, *, escapes: bool) -> Iterator[tuple[str, bool]]:
    """Yield each character, and whether it was escaped and so stands for nothing but itself."""
    pattern = r"\\(x..|u.{4}|U.{8}|[0-7]{3}|.?)|." if escapes else "()."
    for match in re.finditer(pattern, value, re.DOTALL):
        if not (escapes and match[0].startswith("\\")):
            yield match[0], False
        elif match[1] in _ESCAPES:
            yield _ESCAPES[match[1]], True
        elif match[1][:1] in ("x", "u", "U"):
            yield chr(int(match[1][1:], 16)), True
        elif len(match[1]) == 3:
            yield chr(int(match[1], 8)), True
        else:
            raise ValueError(f"no escape: {match[0]!r} in {value!r}")


def expanded(text: str, instance: str) -> str:
    """Expand `%i` and `%%`; we write no other specifier, so that any other came with a value."""
    return _replaced(text, "%", {"i": instance, "%": "%"})


def unit_words(value: str, instance: str) -> list[str]:
    """Return the words of a unit's setting: Environment=, BindPaths= and the like."""
    return [expanded(word, instance) for word in words(value, escapes=True)]


def command_line(value: str, instance: str) -> list[str]:
    """Return the arguments of an ExecStart=; we write no variable, so that any came with a value."""
    if ";" in _QUOTED.sub("quoted", value).split():
        raise ValueError(f"';' begins another command: {value!r}")
    return [_replaced(word, "$", {"$": "$"}) for word in unit_words(value, instance)]


def _replaced(text: str, mark: str, known: dict[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ValueError(f"{match[0]!r} would be expanded: {text!r}")
        return known[match[1]]

    return re.sub(re.escape(mark) + "(.?)", one, text, flags=re.DOTALL)
