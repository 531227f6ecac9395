"""The quota of a guest: set, recorded and lifted, also after a kill or a power cut.

setquota, repquota and findmnt are stand-ins: tests/vm/test_limits.py has a file system with quotas.
"""

from __future__ import annotations

import pytest

from tests.host.machine import WORK, Machine

PROJECT = "1439250513"
STAND_INS = f"""
cat >bin/setquota <<'END'
#!/bin/sh
[ ! -e {WORK}/killed ] || {{ rm {WORK}/killed; kill -KILL $PPID; exit 1; }}
echo "$2 $4 $6 $7" >>{WORK}/quotas
END
cat >bin/repquota <<'END'
#!/bin/sh
printf '#0 -- 20 0 0 2 0 0\\n#{PROJECT} -- %s 0 0 9 0 0\\n' "$(cat {WORK}/used 2>/dev/null || echo 0)"
END
cat >bin/findmnt <<'END'
#!/bin/sh
case "$*" in *OPTIONS*) echo rw,relatime,prjquota ;; */sysroot/*) echo /dev/b ;; *) echo /dev/a ;; esac
END
chmod 755 bin/setquota bin/repquota bin/findmnt
"""


@pytest.fixture
def quotas(machine: Machine) -> Machine:
    machine.shell(STAND_INS)
    return machine


def limit(machine: Machine, kib: int, kind: str = "private") -> int:
    words = ("disk-limit", "web", kind, PROJECT, str(kib))
    return machine.run("change", "guest:web", "--", *words).code


def called(machine: Machine) -> list[str]:
    """Return what setquota was asked, project, KiB, inodes and device, and forget it."""
    return machine.shell("cat quotas; rm quotas").splitlines()


def record(machine: Machine) -> str:
    return machine.shell("cat state/web/disk-limit 2>/dev/null || :").strip()


def test_it_is_set_changed_and_lifted(quotas: Machine):
    assert limit(quotas, 2**20) == 0
    assert called(quotas) == [f"{PROJECT} 1048576 65536 /dev/a"]
    assert record(quotas) == f"{PROJECT} private 1048576"
    assert limit(quotas, 2**22) == 0
    assert called(quotas) == [f"{PROJECT} 4194304 262144 /dev/a"]
    assert limit(quotas, 0) == 0
    assert called(quotas) == [f"{PROJECT} 0 0 /dev/a"]
    assert record(quotas) == ""


def test_less_than_it_has_is_refused(quotas: Machine):
    quotas.shell("echo 2097152 >used")
    answer = quotas.run("change", "guest:web", "--", "disk-limit", "web", "private", PROJECT, "1048576")
    (trouble,) = answer.outcome.troubles
    assert trouble.problem == "its /var and /etc take 2048 MiB already"
    quotas.shell("! test -e quotas")
    assert limit(quotas, 2**22) == 0
    assert limit(quotas, 0) == 0


def test_a_killed_one_is_known_and_lifted(quotas: Machine):
    limit(quotas, 2**20)
    called(quotas)
    quotas.shell("touch killed")
    assert limit(quotas, 2**22) != 0
    assert record(quotas) == f"{PROJECT} private 0"
    assert limit(quotas, 0) == 0
    assert called(quotas) == [f"{PROJECT} 0 0 /dev/a"]


def test_one_that_a_power_cut_has_emptied_is_set_and_lifted(quotas: Machine):
    for kib in (2**20, 0):
        quotas.shell("mkdir -p state/web; : >state/web/disk-limit")
        assert limit(quotas, kib) == 0
        assert called(quotas)[-1].startswith(f"{PROJECT} {kib} ")
    assert record(quotas) == ""


def test_it_moves_with_its_guest_and_goes_with_it(quotas: Machine):
    limit(quotas, 2**20)
    called(quotas)
    assert limit(quotas, 2**20, kind="shared") == 0
    assert called(quotas) == [f"{PROJECT} 0 0 /dev/a", f"{PROJECT} 1048576 65536 /dev/b"]
    assert record(quotas) == f"{PROJECT} shared 1048576"
    assert quotas.run("change", "guest:web", "--", "remove", "web", "keep").code == 0
    assert called(quotas) == [f"{PROJECT} 0 0 /dev/b"]
    assert record(quotas) == ""


def test_what_cannot_be_lifted_any_more_keeps_no_guest(quotas: Machine):
    limit(quotas, 2**20)
    quotas.shell("rm bin/setquota")
    assert quotas.run("change", "guest:web", "--", "remove", "web", "keep").code == 0
    assert record(quotas) == ""
