"""Facts of the host and its sysroots, from real tools."""

from __future__ import annotations

import subprocess

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.facts.ostree import Sysroot
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.facts.snapshot import parse_snapshot
from tests.host.machine import WORK, Machine
from tests.host.test_sysroots import made


def test_the_host_is_read(machine: Machine):
    host = machine.facts("host").snapshot.host
    assert isinstance(host, Host)
    assert host.root
    assert host.ostree_version
    assert host.systemd_version > 250
    assert host.kernel_version > (5, 0)
    assert host.state_version == 0


def test_the_sysroots_are_read(machine: Machine):
    made(machine, "private")
    made(machine, "shared", "db")
    machine.shell("ostree --repo=sysroot/ostree/repo remote add --no-gpg-verify lab http://lab.example")
    commit = machine.shell("ostree --repo=sysroot/ostree/repo rev-parse old").strip()
    partial = machine.shell("ostree --repo=sysroot/ostree/repo rev-parse new").strip()
    machine.shell(f"touch sysroot/ostree/repo/state/{partial}.commitpartial")
    absent = "0" * 64
    asked = [f"commit:{name}" for name in (commit, partial, absent)]
    machine.shell("mkdir 'a b'; ln -s 'a b' link")
    found = machine.facts("sysroots", *asked, "path:/tmp/work/link", "path:/no/such").snapshot.sysroots
    assert isinstance(found.host, Sysroot)
    assert [item.stateroot for item in found.host.deployments] == ["host", "db"]
    assert sorted(found.host.stateroots) == ["db", "host"]
    assert found.host.refs["old"] == commit
    assert found.host.remotes == {"lab": "http://lab.example"}
    assert found.host.commits == {commit: "present", partial: "partial", absent: "absent"}
    assert found.paths == {"/tmp/work/link": "/tmp/work/a b", "/no/such": None}
    (own,) = found.guests["web"].deployments
    assert own.checksum == commit
    assert list(found.guests) == ["web"]


def test_one_sysroot_alone_is_read(machine: Machine):
    made(machine, "private")
    kinds = {part.words[1] for part in machine.facts("sysroot", "web").parts}
    assert kinds == {"web"}
    assert machine.facts("sysroot", "other").parts == []


def test_a_remote_in_a_file_without_a_newline_at_its_end(machine: Machine):
    machine.shell("""
    mkdir -p etc/ostree/remotes.d
    printf '[remote "a"]\\nurl=http://a' >etc/ostree/remotes.d/a.conf
    printf '[remote "b"]\\nurl = http://b\\n' >etc/ostree/remotes.d/b.conf
    """)
    found = machine.facts("sysroots").snapshot.sysroots.host
    assert found.remotes == {"a": "http://a", "b": "http://b"}


def test_a_deployment_without_the_signature_that_its_remote_demands(machine: Machine):
    """An ostree before 2025.3 that cannot leave the signatures out prints those before it, and fails."""
    machine.shell("""
    repo=sysroot/ostree/repo
    ostree --repo=$repo remote add --set=gpg-verify=true lab http://lab.example
    mkdir -p $repo/refs/remotes/lab
    ostree --repo=$repo rev-parse new >$repo/refs/remotes/lab/new
    ostree admin --sysroot=sysroot deploy --os=host --retain lab:new
    """)
    found = machine.facts("sysroots").snapshot.sysroots.host
    assert isinstance(found, Sysroot)
    assert found.deployments[0].origin == "lab:new"
    assert len(found.deployments) == 2 or "signature" in found.complaint.lower(), found
    made(machine, "private")


# It answers as rpm-ostree does; what it was asked is counted.
RPM_OSTREE = """#!/bin/sh
echo "$*" >>/tmp/work/systemd/rpm-ostree
case $* in
*--help*) echo '  --json    Output JSON' ;;
*) BODY ;;
esac
"""


@pytest.mark.parametrize("body", ["sleep 600", "echo 'error: Timeout was reached' >&2; exit 1"])
def test_an_rpm_ostree_that_does_not_answer_is_asked_once_and_spoils_only_the_layers(
    machine: Machine, body: str
):
    path = machine.work / "bin/rpm-ostree"
    path.write_text(RPM_OSTREE.replace("BODY", body))
    path.chmod(0o755)
    found = machine.facts("sysroots", seconds=2).snapshot.sysroots.host
    assert isinstance(found, Sysroot)
    assert found.deployments
    assert isinstance(found.layers, Unreadable)
    asked = (machine.work / "systemd/rpm-ostree").read_text().splitlines()
    assert [line for line in asked if "--help" not in line] == ["status --json"]


def test_without_root_the_reason_is_given(machine: Machine):
    line = command_line("--roots", WORK, "facts", "host", "--", "sysroots", "--", "guests")
    drop = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    said = machine.shell(f"chmod 755 .; {drop} sh -c '{line}'")
    snapshot = parse_snapshot(said.split("\n"))
    assert isinstance(snapshot.host, Host)
    assert not snapshot.host.root
    assert "root" in snapshot.guests.reason
    assert "root" in snapshot.sysroots.host.reason


def test_facts_write_nothing(machine: Machine):
    made(machine, "private")
    listing = "find state sysroot etc run -printf '%p %s %T@ %C@\\n' | sort"
    before = machine.shell(listing)
    machine.facts("host", "--", "sysroots", "--", "guests")
    assert machine.shell(listing) == before


def test_an_unknown_mode_says_so():
    done = subprocess.run(["sh", "-c", command_line("nonsense")], capture_output=True, text=True, check=False)
    assert "knows no nonsense" in done.stderr
