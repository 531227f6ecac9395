"""What a foreign drop-in sets that a guest's wall, or its start, rests on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIXES = {
    "Service": (
        "Ambient",
        "AppArmor",
        "BindPaths",
        "BindReadOnlyPaths",
        "Capability",
        "Delegate",
        "Device",
        "DynamicUser",
        "Environment",
        "Exec",
        "Extension",
        "Group",
        "Inaccessible",
        "KeyringMode",
        "KillMode",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "Mount",
        "NetworkNamespacePath",
        "NoExec",
        "NoNewPrivileges",
        "Notify",
        "PAMName",
        "PassEnvironment",
        "Personality",
        "Private",
        "ProcSubset",
        "Protect",
        "ReadOnly",
        "ReadWrite",
        "RemainAfterExit",
        "Restart",
        "Restrict",
        "Root",
        "SELinuxContext",
        "SecureBits",
        "Slice",
        "SmackProcessLabel",
        "SupplementaryGroups",
        "SystemCall",
        "TemporaryFileSystem",
        "Type",
        "UnsetEnvironment",
        "User",
    ),
    "Unit": (
        "Assert",
        "BindsTo",
        "Condition",
        "Conflicts",
        "JoinsNamespaceOf",
        "RefuseManual",
        "Requisite",
        "StopPropagatedFrom",
        "StopWhenUnneeded",
    ),
}
_CREDENTIAL = re.compile(r"(Import|Load|Set)Credential")


def vital_keys(text: str) -> tuple[str, ...]:
    r"""Return the settings in a drop-in that a guest's wall or start rests on, in order.

    >>> vital_keys("[Service]\nExecStart=\nNice=5\n")
    ('ExecStart',)
    """
    found = (key for section, key in _assignments(text) if _is_vital(section, key))
    return tuple(dict.fromkeys(found))


def _is_vital(section: str, key: str) -> bool:
    return key.startswith(_PREFIXES.get(section, ())) or bool(section == "Service" and _CREDENTIAL.match(key))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield section and key of each assignment, by the rules of systemd.syntax(7)."""
    section, continued = "", False
    for raw in re.split("\r\n|[\n\r\0]", text.removeprefix("\ufeff")):
        line = raw.strip(" \t")
        if line.startswith(("#", ";")):
            continue  # a comment, even between a line and what continues it
        backslashes = len(raw) - len(raw.rstrip("\\"))
        begins, continued = not continued, backslashes % 2 == 1
        if not begins:
            continue
        if header := re.fullmatch(r"\[([^]]+)\]", line):
            section = header[1]
        elif "=" in line:
            yield section, line.partition("=")[0].rstrip(" \t")
