"""Foreign things in a guest's place: a container in /var/lib/machines, drop-ins of the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import deploy, succeed

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

TREE = "/var/lib/machines/web"
# Its PID 1 heeds SIGRTMIN+3, which asks it to shut down.
CONTAINER = f"""
mkdir -p {TREE}/usr {TREE}/etc {TREE}/var {TREE}/proc {TREE}/sys {TREE}/dev {TREE}/run {TREE}/tmp {TREE}/root
cp -a /usr/bin /usr/lib {TREE}/usr/ && cp -a /usr/lib64 {TREE}/usr/ 2>/dev/null || :
for link in bin lib lib64; do ln -s usr/$link {TREE}/$link; done
cp /etc/os-release {TREE}/etc/ 2>/dev/null || touch {TREE}/etc/os-release
rm -f {TREE}/usr/lib/systemd/systemd
printf '#!/bin/sh\\ntrap "exit 0" 37\\nsleep infinity & wait\\n' >{TREE}/usr/lib/systemd/systemd
chmod 755 {TREE}/usr/lib/systemd/systemd; ln -sf ../lib/systemd/systemd {TREE}/usr/bin/init
mkdir -p {TREE}/sbin 2>/dev/null; ln -sf /usr/lib/systemd/systemd {TREE}/sbin/init
"""
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic -p ActiveState --value"
TEMPLATE = "/etc/systemd/system/systemd-nspawn@.service.d"


@pytest.mark.parametrize("how", ["enabled", "a tree alone"])
def test_a_container_of_that_name_is_left_alone(fresh: dict[str, Host], how: str):
    for host in fresh.values():
        host.succeed(CONTAINER)
        if how == "enabled":
            host.succeed("systemctl enable systemd-nspawn@web")
    before = {name: host.succeed(STARTED) for name, host in fresh.items()}
    for data in ({}, {"adopt": "web"}):
        outcome = deploy("-y", guests=[{"name": "web"}, {"name": "other"}], **data)
        assert outcome.code == 1
        for name, host in fresh.items():
            assert any(
                line.startswith("web: ") and "/var/lib/machines/web" in line for line in outcome.lines(name)
            )
            assert host.succeed(STARTED) == before[name]
            host.fail("test -e /var/lib/pyinfra-nspawn/web")
            assert host.succeed("systemctl -M other is-system-running") == "running\n"
    for host in fresh.values():
        host.succeed(f"systemctl disable systemd-nspawn@web; rm -rf {TREE}")
    succeed(guests=[{"name": "web"}, {"name": "other"}])
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}, {"name": "other"}])


@pytest.mark.parametrize(
    "text",
    [
        "ExecStart=\nExecStart=/bin/sleep infinity",
        "DeviceAllow=block-* rwm",
        "Environment=SYSTEMD_NSPAWN_LOCK=0",
    ],
    ids=["ExecStart", "DeviceAllow", "Environment"],
)
def test_a_drop_in_of_the_template_that_touches_the_wall_is_refused(fresh: dict[str, Host], text: str):
    succeed(guests=[{"name": "web"}])
    before = {name: host.succeed(STARTED) for name, host in fresh.items()}
    for host in fresh.values():
        host.succeed(f"mkdir -p {TEMPLATE}; printf '[Service]\\n{quoted(text)}\\n' >{TEMPLATE}/zz.conf")
        host.succeed("systemctl daemon-reload")
    outcome = deploy("-y", guests=[{"name": "web", "hostname": "changed"}])
    assert outcome.code == 1
    for name, host in fresh.items():
        assert any(f"{TEMPLATE}/zz.conf" in line for line in outcome.lines(name)), outcome.stderr
        assert host.succeed(STARTED) == before[name]
        host.succeed(f"rm -r {TEMPLATE}; systemctl daemon-reload")


def quoted(text: str) -> str:
    return text.replace("\n", "\\n")


def test_a_harmless_drop_in_of_the_template_is_not(fresh: dict[str, Host]):
    for host in fresh.values():
        host.succeed(f"mkdir -p {TEMPLATE}; printf '[Service]\\nNice=5\\n' >{TEMPLATE}/nice.conf")
        host.succeed("systemctl daemon-reload")
    succeed(guests=[{"name": "web"}])
    for host in fresh.values():
        host.succeed(f"rm -r {TEMPLATE}; systemctl daemon-reload")


def test_a_drop_in_with_a_byte_that_is_no_text_is_refused_by_name(fresh: dict[str, Host]):
    path = "/etc/systemd/system/systemd-nspawn@odd.service.d/latin.conf"
    for host in fresh.values():
        host.succeed(f"mkdir -p {path.rpartition('/')[0]}; printf '# caf\\351\\n' >{path}")
    outcome = deploy("-y", guests=[{"name": "odd"}, {"name": "web"}])
    assert outcome.code == 1
    assert "Traceback" not in outcome.stderr
    for name, host in fresh.items():
        assert any(path in line for line in outcome.lines(name)), outcome.stderr
        assert host.succeed("systemctl -M web is-system-running") == "running\n"
        host.succeed(f"rm -r {path.rpartition('/')[0]}")
