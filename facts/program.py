"""The program on the host: its text, and the command line that carries it there.

Program, verb and arguments travel as one word of base64, inside a constant that unpacks and runs it. The
constant holds neither a quote nor `$`, `!`, a backslash or a newline: it passes dash, bash, fish and tcsh
as login shells, plain, with `sudo` and with `sudo -i` (which expands `$` and drops newlines). Stdin stays
free for payloads.
"""

from __future__ import annotations

import base64
import functools
import gzip
import re
import shlex
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ORDER = (
    "answer",
    "record",
    "lock",
    "files",
    "ostree",
    "guest",
    "move",
    "unit",
    "trial",
    "upgrade",
    "checks",
    "rescue",
    "archive",
    "networkmanager",
    "network",
    "machine",
    "store",
    "k3s",
    "facts/host",
    "facts/network",
    "facts/sysroots",
    "facts/guests",
    "facts/history",
    "facts/k3s",
    "main",
)


@functools.cache
def text() -> str:
    """Return the program as it is sent: functions and `main`, without comments and indentation."""
    lines = (line.lstrip(" ") for line in source().splitlines(keepends=True))
    return _SIGNATURE.sub(r"\1", "".join(line for line in lines if not line.startswith("#")))


# The arguments of a function, which its first line names.
_SIGNATURE = re.compile(r"^(\w+\(\) [({]) # .*$", re.MULTILINE)


def source() -> str:
    """Return the program as it is written, with comments."""
    folder = files("pyinfra_nspawn.host")
    return "\n".join((folder / f"{name}.sh").read_text(encoding="utf-8") for name in _ORDER)


@functools.cache
def _packed() -> bytes:
    return gzip.compress(f"{text()}\n".encode(), mtime=0)


def command_line(*words: str, options: Iterable[str] = (), private_mounts: bool | None = None) -> str:
    """Return the shell command that runs the program's `main` with these words.

    + options: words before them, such as who asks for a change
    + private_mounts: give it a mount namespace of its own, in which it makes /sysroot writable; by default
      for `change`. The text is then an argument of `sh`, which may have 128 KiB (MAX_ARG_STRLEN)

    >>> command_line("facts", "host")[:13]
    'eval "`echo H'
    """
    # gzip's members follow one another: the program, which is the same for all commands, is packed once.
    call = f"main {shlex.join((*options, *words))}\n"
    packed = _packed() + gzip.compress(
        call.encode(errors="surrogateescape"), mtime=0
    )  # a path need not be UTF-8
    word = base64.b64encode(packed).decode()
    if private_mounts is None:
        private_mounts = words[:1] == ("change",)
    # slave: what is unmounted on the host meanwhile is unmounted here too, and keeps nothing busy.
    run = "unshare --mount --propagation slave sh -c" if private_mounts else "eval"
    return f'{run} "`echo {word}|base64 -d|gzip -dc`"'
