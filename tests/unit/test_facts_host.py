"""Parsing of what a host says of itself."""

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Host, parse_host
from tests.unit.answers import answer, part

PARTS = {
    "user": "0",
    "ostree-booted": "yes",
    "kernel": "6.12.9-200.fc41.x86_64",
    "commands": "flock\nmachinectl\nostree\nrpm-ostree\nsystemd-nspawn\nunshare",
    "systemd": "systemd 256 (256.11-1.fc41)",
    "ostree": "libostree:\n Version: '2025.1'\n Git: 0123",
    "cgroup": "cgroup2fs",
    "sysroot-options": "ro,relatime,seclabel",
    "state-file-system": "xfs\n/dev/vda4 10000 4000 6000 40% /var",
    "user-namespaces": "63432",
    "inotify-instances": "128",
    "machines-target": "LoadState=loaded\nUnitFileState=disabled",
}


def host(**changed: str) -> Host:
    parts = {**PARTS, **{key.replace("_", "-"): text for key, text in changed.items()}}
    seen = parse_host(answer(*(part(key, text) for key, text in parts.items())))
    assert isinstance(seen, Host), seen
    return seen


def test_a_fedora_host():
    seen = host(selinux_enforce="1", selinux_config="enforcing")
    assert seen.root
    assert seen.ostree_booted
    assert seen.kernel_version == (6, 12)
    assert (seen.systemd_version, seen.ostree_version, seen.cgroup_version) == (256, "2025.1", 2)
    assert seen.sysroot_read_only
    assert seen.free_bytes == 6000 * 1024
    assert (seen.selinux, seen.selinux_configured) == ("enforcing", "enforcing")
    assert seen.machines_target == "disabled"
    assert seen.sysctl_file is None


def test_selinux_that_is_permissive_or_missing():
    assert host(selinux_enforce="0").selinux == "permissive"
    assert host().selinux == "disabled"


def test_other_hosts():
    assert host(cgroup="tmpfs").cgroup_version == 1
    assert not host(sysroot_options="rw,relatime").sysroot_read_only
    assert not host(sysroot_options="").sysroot_read_only
    assert host(ostree="ostree: not found").ostree_version == ""


def test_what_is_not_whole_is_unreadable():
    assert isinstance(parse_host([]), Unreadable)
    assert isinstance(parse_host(answer(part("user", "0"))), Unreadable)
    broken = [part(key, text, code=key == "inotify-instances") for key, text in PARTS.items()]
    assert isinstance(parse_host(answer(*broken)), Unreadable)
