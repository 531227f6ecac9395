"""How every file of ours is rendered, and how it differs from what lies in its place."""

from __future__ import annotations

import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyinfra_nspawn.specs.base import MANAGED


def unit_value(text: str) -> str:
    """Escape a value for one word of a unit file's command line.

    systemd expands `%` specifiers and `$` variables in it, and knows quotes and backslashes
    (systemd.service(5), "Command lines").
    """
    escaped = text.replace("%", "%%").replace("$", "$$")
    if not any(character in escaped for character in " \t\"'\\;"):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nspawn_word(text: str) -> str:
    """Escape one word of a list in a .nspawn file.

    Such files know quotes, which join like a shell's, but neither escapes nor specifiers:
    systemd's config_parse_strv() reads them with EXTRACT_UNQUOTE and EXTRACT_RETAIN_ESCAPE.
    """
    return shlex.quote(text)


def one_line(script: str) -> str:
    """Put a shell script into one line: a unit file has no word with a newline in it."""
    return " ".join(script.split())


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pyinfra_nspawn.plans"),
        autoescape=False,  # no HTML: unit files, with filters of their own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(unit=unit_value, word=nspawn_word, line=one_line)
    environment.globals.update(managed=MANAGED)
    return environment


_ENVIRONMENT = _environment()


def render(template: str, **values: object) -> str:
    """Render one of `templates/` with `values`; a missing one is an error."""
    return _ENVIRONMENT.get_template(template).render(values)
