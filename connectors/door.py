"""Command lines that lead to a guest; what is run there travels on stdin.

sudo, sshd and systemd write command lines into journals, and systemd before 255 takes the lines of a unit's
description for settings. So a command line here is constant: it says how many bytes of stdin are the program.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from pyinfra.api.command import StringCommand
from pyinfra.connectors.util import make_unix_command

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = "pyinfra command"
#: pyinfra's global arguments that decide who runs a command; each is host data of a guest as `nspawn_...`.
BECOME = (
    *("_sudo", "_sudo_user", "_use_sudo_login", "_preserve_sudo_env", "_sudo_password"),
    *("_su_user", "_use_su_login", "_preserve_su_env", "_su_shell", "_su_password"),
    *("_doas", "_doas_user", "_dzdo", "_dzdo_user"),
)
PASSWORDS = ("_sudo_password", "_su_password")
_ANOTHER_USER = ("_sudo", "_su_user", "_doas", "_dzdo")
# A guest that shuts down is gone in a moment; one that starts is worth waiting for, but may never finish.
_IS_UP = (
    'case "`timeout 30 systemctl is-system-running --wait`" in '
    "stopping) echo it is shutting down >&2; exit 1;; esac"
)


def framed(text: str) -> bytes:
    """Return a shell program as it travels on stdin.

    Cut off anywhere it is a syntax error: the shell reads a group to its end before it runs any of it.
    """
    return f"{{ :\n{text}\n}}\n".encode(errors="surrogateescape")


def reader(size: int) -> str:
    """Return the shell program that runs the next `size` bytes of stdin, and leaves the rest to them.

    Any login shell passes it on unchanged within single quotes, and `sudo -i` too: it has no single
    quote, `!`, `$`, backslash or newline.
    """
    return f'eval "`head -c {size}`"'


def command_in_guest(guest: str, text: str) -> tuple[list[str], bytes]:
    """Return the words of a host's command that runs a shell program in a guest, and what it reads first.

    + guest: the machine's name
    + text: what the guest's /bin/sh runs; its stdin is what follows

    It exits as the program does (`machinectl shell` loses that, systemd#4215).
    """
    program = framed(text)
    return _entered(guest, reader(len(program))), program


def file_in_guest(guest: str, path: str) -> list[str]:
    """Return the words of a host's command that runs a script of a guest at a terminal.

    A terminal echoes stdin and cuts its lines: no program can travel on it.
    """
    return _entered(guest, f". {path}", stdio="--pty")


def login_in_guest(guest: str, terminal: str, rows: int, columns: int) -> list[str]:
    """Return the words of a host's command that starts a login shell of a guest's root, at a terminal.

    + terminal: the type of the terminal, as in `TERM`
    + rows, columns: its size, as it stays

    The host's side needs no terminal: systemd-run makes one in the guest, and passes its bytes on.
    """
    kind = terminal if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", terminal) else "dumb"
    shell = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi"
    return _entered(guest, f"export TERM={kind}; stty rows {rows} cols {columns}; {shell}", stdio="--pty")


def look_at_guest(guest: str) -> list[str]:
    """Return the words of a host's command that fails unless commands can be run in a guest.

    It waits for one that is starting.
    """
    return _entered(guest, _IS_UP)


def _entered(guest: str, program: str, stdio: str = "--pipe") -> list[str]:
    return [
        *("systemd-run", "--quiet", "--wait", "--collect", stdio, f"--description={DESCRIPTION}"),
        # User= gives a login's HOME and USER, and a home directory to begin in, as SSH does; and as
        # over SSH, what a command leaves running in the background goes on.
        *("--property=User=root", "--property=WorkingDirectory=~", "--property=KillMode=process"),
        *(f"--machine={guest}", "--", "sh", "-c", program),
    ]


def program_for(command: StringCommand, arguments: dict[str, Any]) -> tuple[str, bytes]:
    """Return the program of a guest that runs a command as pyinfra's arguments say, and what it reads first.

    + arguments: pyinfra's global arguments of the command, which are of the guest

    sudo and su log their command line, so that theirs is constant too. Nothing asks root for a password.
    """
    rest = {key: value for key, value in arguments.items() if key not in PASSWORDS}
    inner = {key: rest.pop(key) for key in ("_env", "_chdir") if key in rest}
    shell = rest.get("_shell_executable", "sh")
    own = make_unix_command(command, **inner, _shell_executable=None if shell == "sh" else shell)
    text = own.get_raw_value()
    if not changes_user(rest):
        return text, b""
    program = framed(text)
    rest["_shell_executable"] = "sh"
    return make_unix_command(StringCommand(reader(len(program))), **rest).get_raw_value(), program


def changes_user(arguments: dict[str, Any]) -> bool:
    """Return whether these arguments run a command as another user."""
    return any(arguments.get(key) for key in _ANOTHER_USER)


def host_command(words: Sequence[str], become: dict[str, Any], *, asked: bool) -> str:
    """Return the command line of a host that runs words as somebody else.

    + become: those of `BECOME` that the way to the host's root takes
    + asked: whether the way asks for a password: then it is the first line of stdin
    """
    how = {key: value for key, value in become.items() if key not in PASSWORDS}
    line = make_unix_command(StringCommand(shlex.join(words)), _shell_executable=None, **how).get_raw_value()
    # Without -k it would hang on an earlier command whether sudo reads a line.
    by_sudo = asked and bool(become.get("_sudo"))
    return line.replace("sudo -H -n", "sudo -H -k -S -p ''" if by_sudo else "sudo -H -n -k", 1)


def password_of(become: dict[str, Any]) -> str:
    """Return the password that the way to the host's root has in its data; empty when it has none."""
    return str(become.get("_sudo_password" if become.get("_sudo") else "_su_password") or "")
