"""How the program on the host reads SELinux's denials, from lines in the forms of kernel and auditd."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.program import text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Read = Callable[..., list[str]]


def avc(permission: str, about: str, source: str, target: str, kind: str, *, permissive: int = 0) -> str:
    return (
        f"avc:  denied  {{ {permission} }} for  pid=988 {about} scontext=system_u:system_r:{source} "
        f"tcontext=system_u:object_r:{target}:s0 tclass={kind} permissive={permissive}"
    )


CURRENT = ('comm="systemd-nspawn" name="current" dev="vda"', "systemd_nspawn_t:s0", "var_lib_t", "lnk_file")
DENIED = avc("read", *CURRENT)
VSOCK = 'comm="systemd-machine" name="vsock" dev="devtmpfs" ino=229'
MACHINED = avc("read open", VSOCK, "systemd_machined_t:s0-s0:c0.c1023", "vsock_device_t", "chr_file")
OTHER = avc("link", 'comm="ostree-system-g"', "systemd_generator_t:s0", "init_runtime_t", "file")
#: A guest names its own processes and files; the kernel writes what has a blank in hexadecimal digits.
NAMED = avc("write", 'comm="scontext=a:b:c" name="tclass=e"', "systemd_nspawn_t:s0", "etc_t", "file")
LOADED = "auid=4294967295 ses=4294967295 lsm=selinux res=1"


def kernel(seconds: int, what: str, kind: int = 1400) -> str:
    return f"{seconds}.856000 vm3 kernel: audit: type={kind} audit({seconds}.850:61): {what}"


def journald(seconds: int, what: str, kind: str = "AVC") -> str:
    return f"{seconds}.856000 vm3 audit[988]: {kind} {what}"


def auditd(seconds: int, what: str, kind: str = "AVC") -> str:
    return f"type={kind} msg=audit({seconds}.850:61): {what}"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read what journal and audit log hold, with the program's own function."""

    def read(*journal: str, log: tuple[str, ...] = ()) -> list[str]:
        (tmp_path / "journal").write_text("".join(f"{line}\n" for line in journal))
        (tmp_path / "audit.log").write_text("".join(f"{line}\n" for line in log))
        command = tmp_path / "journalctl"
        command.write_text(f"#!/bin/sh\ncat {tmp_path}/journal\n")
        command.chmod(0o755)
        script = (
            f"{text()}\nPATH={tmp_path}:$PATH tool_seconds=5 AUDIT_LOG={tmp_path}/audit.log\nselinux_denials"
        )
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return read


@pytest.mark.parametrize("form", [kernel, journald])
def test_a_denial_in_the_journal(read: Read, form: Callable[[int, str], str]):
    found = read(form(1, DENIED), form(2, OTHER), form(3, MACHINED), form(4, DENIED))
    assert found == [
        "systemd_nspawn_t var_lib_t lnk_file read",
        "systemd_machined_t vsock_device_t chr_file read open",
    ]


def test_a_denial_in_the_audit_log(read: Read):
    assert read(log=(auditd(1, DENIED), auditd(2, OTHER))) == ["systemd_nspawn_t var_lib_t lnk_file read"]


def test_what_a_permissive_domain_does_is_not_denied(read: Read):
    assert read(kernel(1, avc("read", *CURRENT, permissive=1))) == []


def test_what_was_denied_before_a_policy_was_loaded_is_past(read: Read):
    assert read(kernel(1, DENIED), kernel(2, LOADED, 1403)) == []
    assert read(journald(1, DENIED), journald(2, LOADED, "MAC_POLICY_LOAD")) == []
    assert read(kernel(2, LOADED, 1403), log=(auditd(1, DENIED),)) == []
    assert read(log=(auditd(1, DENIED), auditd(2, "pid=1", "SYSTEM_BOOT"))) == []
    assert len(read(kernel(2, LOADED, 1403), log=(auditd(3, DENIED),))) == 1


def test_no_name_of_a_guests_passes_for_a_type(read: Read):
    assert read(kernel(1, NAMED)) == ["systemd_nspawn_t etc_t file write"]


def test_the_answer_has_a_bound(read: Read):
    many = (kernel(at, DENIED.replace("var_lib_t", f"t{at}_t")) for at in range(1000, 1300))
    assert len(read(*many)) == 50
