"""Jinja templates, and how a value is quoted in a unit file."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyinfra_nspawn.specs.base import MANAGED


def word(text: str) -> str:
    """Quote one word of a unit's setting.

    systemd expands `%` specifiers in it, and knows quotes and backslashes (systemd.syntax(7)). A line that
    begins with `#` or `;` is a comment, even one that continues another.
    """
    escaped = text.replace("%", "%%")
    if escaped and not any(character in escaped for character in " \t\"'\\;#"):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def argument(text: str) -> str:
    """Quote one argument of a unit's command line, where systemd also expands `$` variables.

    See systemd.service(5), "Command lines".
    """
    return word(text.replace("$", "$$"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pyinfra_nspawn.plans"),
        autoescape=False,  # no HTML: unit files, with filters of their own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(word=word, argument=argument)
    environment.globals.update(managed=MANAGED)
    return environment


ENVIRONMENT = _environment()


def render(template: str, **values: object) -> str:
    """Render one of `templates/` with `values`; a missing one is an error."""
    return ENVIRONMENT.get_template(template).render(values)
