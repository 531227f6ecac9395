"""Answers of the program on the host, put together from their parts: see facts/base.py."""

from __future__ import annotations

import base64

Text = str | bytes


def part(header: str, text: Text = "", code: int = 0, errors: Text = "") -> list[str]:
    """Answer what a command printed, how it ended, and its complaint where there is any."""
    captured = _bytes(text) + f"\n{code}".encode()
    return [f":: {header}", f"+{word(captured)}", *([f"!{word(errors)}"] if errors else [])]


def printed(header: str, *lines: str, code: int = 0) -> list[str]:
    """Answer the same of whole lines of printable ASCII."""
    return [f":: {header}", ">" + "".join(f"{line}\t" for line in lines) + str(code)]


def cut(header: str, text: Text, errors: Text = "") -> list[str]:
    """Answer what is left of a command's output when it was more than the program passes on."""
    return [f":: {header}", f"+{word(text)}", *([f"!{word(errors)}"] if errors else [])]


def value(header: str, text: str = "") -> list[str]:
    """Answer one line that is known to be ASCII."""
    return [f":: {header}", f"|{text}"]


def answer(*parts: list[str]) -> list[str]:
    """Return the whole answer, as pyinfra hands it over: line by line."""
    return [*(line for lines in parts for line in lines), ":: done"]


def word(text: Text) -> str:
    """Return any text as a word of a header, or as the content of a part."""
    return base64.b64encode(_bytes(text)).decode()


def file_header(guest: str, path: Text, mode: str = "644", owner: str = "0:0") -> str:
    return f"file {guest} {mode} {owner} {word(path)}"


def dropin_header(guest: str, path: Text) -> str:
    return f"dropin {guest} {word(path)}"


def credential_header(guest: str, name: str, mode: str = "600") -> str:
    return f"credential {guest} {word(name)} {mode}"


def path_header(path: Text) -> str:
    return f"path {word(path)}"


def unit_shown(guest: str, **changed: str) -> str:
    """Return what `systemctl show` says of a guest's unit: a running one's, but for what `changed` says."""
    shown = {
        "MainPID": "812",
        "Result": "success",
        "NRestarts": "0",
        "ExecMainStartTimestampMonotonic": "4711",
        "Id": f"systemd-nspawn@{guest}.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "FragmentPath": "/usr/lib/systemd/system/systemd-nspawn@.service",
        "DropInPaths": "",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
        **changed,
    }
    return "".join(f"{key}={line}\n" for key, text in shown.items() for line in text.split("\n"))


def machine_shown(guest: str, leader: int = 900) -> str:
    """Return what `machinectl show` says of a guest that runs."""
    return f"Name={guest}\nLeader={leader}\nUnit=systemd-nspawn@{guest}.service\nClass=container\n"


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text
