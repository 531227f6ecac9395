"""The base of every spec, and the one way in which its errors are put into words."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError

MANAGED = "# Managed by pyinfra-nspawn"
"""The line that every file of ours carries; a file in our place without it is somebody else's."""


class InvalidSpecError(ValueError):
    """A value of the inventory is wrong; the message is one readable line.

    + where: what the value belongs to; the message begins with it
    + problems: one for each wrong field
    """

    def __init__(self, where: str, *problems: str) -> None:
        super().__init__(f"{where}: {'; '.join(problems)}")
        self.problems = problems


class Spec(BaseModel):
    """A frozen model that refuses unknown fields and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @classmethod
    def of(cls, value: object, where: str) -> Self:
        """Return `value` as this spec, from an instance of it or from an inventory's plain data.

        Raises `InvalidSpecError`, one line that begins with `where`, for anything else.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InvalidSpecError(where, *_in_words(error)) from None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: what pyinfra's `debug-inventory --json` asks of an object."""
        return self.model_dump(mode="json")


def _in_words(error: ValidationError) -> list[str]:
    """Put a validation error into a line for each field; never the value itself, it may be a secret."""
    return [
        f"{'.'.join(map(_printable, detail['loc']))}: {_message(detail['type'], detail['msg'])}".lstrip(": ")
        for detail in error.errors(include_input=False, include_url=False)
    ]


def _printable(name: object) -> str:
    return str(name) if str(name).isprintable() else ascii(name)


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such field"
    return message.removeprefix("Value error, ")


# Surrogates cannot be written; a line with one of Unicode's noncharacters is passed over by systemd.
_NO_CHARACTERS = {
    *range(0xD800, 0xE000),
    *range(0xFDD0, 0xFDF0),
    *(plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)),
}


def _one_line(text: str) -> str:
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
        raise ValueError("must not hold a newline or another control character")
    if not _NO_CHARACTERS.isdisjoint(map(ord, text)):
        raise ValueError("must not hold what is no character in UTF-8")
    return text


def _writable(secret: SecretStr) -> SecretStr:
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must not hold what is no character in UTF-8") from None
    return secret


# Unit files, .nspawn files and tmpfiles.d each quote a path's other characters in a way of their own.
_PATH = re.compile(r"(/[A-Za-z0-9._@+=,~-]+)+|/")


def _absolute(text: str) -> str:
    if not _PATH.fullmatch(text) or {"..", "."} & set(text.split("/")):
        raise ValueError(
            "must be an absolute path of letters, digits and . _ @ + = , ~ -, without '.' or '..'"
        )
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Secret = Annotated[SecretStr, AfterValidator(_writable)]
Path = Annotated[str, AfterValidator(_absolute)]


def _tuple_from_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Items = BeforeValidator(_tuple_from_list)
"""A list of an inventory, as a tuple."""
