"""Parsing of what a host says of itself."""

import pytest

from pyinfra_nspawn.facts.base import Unreadable, parse_answer
from pyinfra_nspawn.facts.host import HOST_PARTS, Denial, Host, HostFacts, parse_host
from tests.unit.answers import answer, cut, part, value

VALUES = {
    "user": "0",
    "ostree-booted": "yes",
    "kernel": "6.12.9-200.fc41.x86_64",
    "cgroup": "cgroup2fs",
    "state-version": "1",
}
PARTS = {
    "commands": "flock\nmachinectl\nostree\nrpm-ostree\nsystemd-nspawn\nunshare\n",
    "systemd": "systemd 256 (256.11-1.fc41)\n",
    "ostree": "libostree:\n Version: '2025.1'\n Git: 0123\n",
    "sysroot-options": "ro,relatime,seclabel\n",
    "state-file-system": "xfs\n/dev/vda4 10000 4000 6000 40% /var\n",
    "user-namespaces": "63432\n",
    "inotify-instances": "128\n",
    "machines-target": "LoadState=loaded\nUnitFileState=disabled\n",
}


def host_answer(*more: list[str], without: str = "", **changed: str) -> list[str]:
    new = {key.replace("_", "-"): text for key, text in changed.items()}
    values = {key: new.get(key, text) for key, text in VALUES.items() if key != without}
    parts = {key: text for key, text in {**PARTS, **new}.items() if key not in (*VALUES, without)}
    return answer(
        *(value(key, text) for key, text in values.items()),
        *(part(key, text) for key, text in parts.items()),
        *more,
    )


def host(*more: list[str], without: str = "", **changed: str) -> Host:
    seen = parse_host(parse_answer(host_answer(*more, without=without, **changed)))
    assert isinstance(seen, Host), seen
    return seen


def test_a_fedora_host():
    seen = host(selinux_enforce="1\n", selinux_config="enforcing\n")
    assert seen.root
    assert seen.ostree_booted
    assert seen.kernel_version == (6, 12)
    assert seen.commands == ("flock", "machinectl", "ostree", "rpm-ostree", "systemd-nspawn", "unshare")
    assert (seen.systemd_version, seen.ostree_version, seen.cgroup_version) == (256, "2025.1", 2)
    assert seen.sysroot_read_only
    assert (seen.state_file_system, seen.free_bytes) == ("xfs", 6000 * 1024)
    assert (seen.max_user_namespaces, seen.inotify_instances) == (63432, 128)
    assert (seen.selinux, seen.selinux_configured) == ("enforcing", "enforcing")
    assert seen.machines_target == "disabled"
    assert seen.sysctl_file is None
    assert seen.state_version == 1


def test_selinux_that_is_permissive_or_missing():
    assert host(selinux_enforce="0\n").selinux == "permissive"
    assert host().selinux == "disabled"
    assert host().selinux_configured is None


def test_what_selinux_has_denied():
    assert host(selinux_enforce="1\n").denials == ()
    assert host(selinux_denials="").denials == ()
    seen = host(
        selinux_denials="systemd_nspawn_t var_lib_t dir write add_name\nsystemd_machined_t a_t file\n"
    )
    assert seen.denials == (
        Denial("systemd_nspawn_t", "var_lib_t", "dir", ("write", "add_name")),
        Denial("systemd_machined_t", "a_t", "file", ()),
    )
    assert isinstance(HostFacts().process(host_answer(part("selinux-denials", "cut\n"))), Unreadable)


def test_other_hosts():
    assert not host(user="1000").root
    assert not host(ostree_booted="no").ostree_booted
    assert host(cgroup="tmpfs").cgroup_version == 1
    assert not host(sysroot_options="rw,relatime\n").sysroot_read_only
    assert not host(sysroot_options="").sysroot_read_only
    assert host(commands="").commands == ()
    assert host(ostree="ostree: not found").ostree_version == ""
    assert host(without="ostree").ostree_version == ""
    assert host(without="systemd").systemd_version == 0
    assert host(without="machines-target").machines_target == ""
    assert host(without="state-version").state_version == 0
    assert host(sysctl_file="# ours\nfs.x = 1\n").sysctl_file == "# ours\nfs.x = 1\n"


def test_a_file_system_whose_source_has_a_space():
    shown = "cifs\n//nas/my share 10000 4000 6000 40% /var/lib/pyinfra-nspawn\n"
    assert host(state_file_system=shown).free_bytes == 6000 * 1024


def test_a_warning_beside_a_good_answer_is_no_failure():
    warned = part("ostree", PARTS["ostree"], errors="(process:1): GLib-GIO-CRITICAL **: no schema")
    assert host(warned).ostree_version == "2025.1"


@pytest.mark.parametrize(
    "name", sorted({*VALUES, *PARTS} - {"systemd", "ostree", "machines-target"} - {"state-version"})
)
def test_a_host_without_what_every_host_has_is_unreadable(name: str):
    assert isinstance(HostFacts().process(host_answer(without=name)), Unreadable)


@pytest.mark.parametrize("name", sorted(HOST_PARTS))
def test_a_failed_or_cut_part_makes_the_host_unreadable(name: str):
    failed = HostFacts().process(host_answer(part(name, "", 1, "cannot open it")))
    assert failed == Unreadable(f"{name}: cannot open it")
    assert HostFacts().process(host_answer(cut(name, "x"))) == Unreadable(f"{name}: too much output")


@pytest.mark.parametrize("text", [b"\xff\n", b"a\0\n", "\x1b[2J\n", "", "\n\n\n"])
def test_nonsense_in_a_number_is_unreadable(text: str):
    seen = HostFacts().process(host_answer(part("user-namespaces", text)))
    assert isinstance(seen, Unreadable)
    assert seen.reason.isprintable()


def test_what_is_not_whole_is_unreadable():
    assert parse_host([]) == Unreadable("unexpected answer, KeyError('state-file-system')")
    assert HostFacts().process(host_answer()[:-1]) == Unreadable("the answer broke off")
    assert isinstance(HostFacts.default(), Unreadable)


def test_parts_of_guests_are_no_parts_of_the_host():
    """The last of a name counts: no header of a guest's may have the name of one of the host's."""
    assert host(part("system web", "SystemState=running"), part("etc web", "", 1), value("guest user")).root
