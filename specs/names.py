"""The names and numbers that systemd, Linux and OpenSSH give a meaning to, each validated as a text."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from pyinfra_nspawn.specs.base import Line


def matching(pattern: str, sentence: str) -> AfterValidator:
    """Return a validator that refuses what does not match, in the words of `sentence`."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(sentence)
        return text

    return AfterValidator(check)


# capabilities(7), in the kernel's order. nspawn ignores a name that it does not know.
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
"""
# `systemd-analyze syscall-filter` of systemd 252 and newer. An unknown group has no effect.
_CALL_GROUPS = """
    aio basic-io chown clock cpu-emulation debug default file-system io-event ipc keyring known memlock module
    mount network-io obsolete pkey privileged process raw-io reboot resources sandbox setuid signal swap sync
    system-service timer
"""

_CREDENTIAL_FIELDS = {"system.hostname": "hostname", "system.machine_id": "machine_id"}


def _without_a_field(credential: str) -> str:
    if field := _CREDENTIAL_FIELDS.get(credential):
        raise ValueError(f"use the field {field} in its place")
    return credential


# systemd's hostname_is_valid(), which rules machine names, less the underscore that DNS lacks.
_LABELS = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
Commit = Annotated[str, matching(r"[0-9a-f]{64}", "must be a commit of 64 hex digits, in lower case")]
MachineName = Annotated[
    str,
    matching(
        rf"(?=.{{1,64}}\Z){_LABELS}",
        "must be 1 to 64 letters, digits, '-' and '.', beginning and ending with a letter or digit",
    ),
]
Capability = Annotated[
    str,
    matching(
        f"all|CAP_({'|'.join(_CAPABILITIES.split())})",
        "must be a capability that Linux knows, like CAP_NET_ADMIN, or 'all'",
    ),
]
SystemCall = Annotated[
    str,
    matching(r"~?@?[a-z0-9_-]+", "must be like bpf or @keyring"),
    matching(
        rf"[^@]+|~?@({'|'.join(_CALL_GROUPS.split())})",
        "must be a group that systemd knows; `systemd-analyze syscall-filter` lists them",
    ),
]
# systemd.resource-control(5), DeviceAllow=: a path, and which of read, write and mknod, as systemd shows it.
Device = Annotated[
    Line,
    matching(
        r"/dev(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)+ (?=[rwm])r?w?m?",
        "must be a device's path and its access, like '/dev/kmsg r' or '/dev/fuse rw'",
    ),
]
UnitName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9:_.@\\-]{1,240}\.(service|socket|target|timer|mount|path|swap|automount)",
        "must be a unit's full name, like systemd-resolved.service",
    ),
    matching(r"[^-].*", "must not begin with '-'"),
]
VariableName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "must be a variable's name")]
CredentialId = Annotated[
    str,
    matching(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,200}", "must be a credential's name"),
    AfterValidator(_without_a_field),
]
MachineId = Annotated[
    str,
    matching(r"[0-9a-f]{32}", "must be 32 lower-case hex digits"),
    matching(r"0*[1-9a-f][0-9a-f]*", "must not be all zeros"),
]
AuthorizedKey = Annotated[
    Line,
    matching(
        r"(?!#).*(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ +[A-Za-z0-9+/]+=* *.*",
        "must be a line of an authorized_keys file",
    ),
]
