"""A guest that is ready for k3s: each thing that k3s needs is tried in it, on a kernel of the host's own."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.guest import inside
from tests.vm.conftest import FLEET, GUEST_SECONDS, INVENTORY, converge

if TYPE_CHECKING:
    from tests.lab.conftest import Outcome
    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

GUESTS = [{"name": "web", "k3s": {"node_labels": ["zone=lab"]}}]
PLAIN = [{"name": "web", "isolation": "overlay"}]

#: keyctl(2): runc joins a session keyring; bpf(2): it loads filters of devices.
KEYRING = "import ctypes; libc = ctypes.CDLL(None); assert libc.syscall(250, 1, b'lab') > 0"
MAP = """
import ctypes, struct
made = ctypes.create_string_buffer(struct.pack('5I', 2, 4, 4, 1, 0), 128)
assert ctypes.CDLL(None).syscall(321, 0, made, 20) > 0
"""
NEEDED = {
    "kernel messages": "dd if=/dev/kmsg bs=8192 count=1 status=none of=/dev/null",
    "the size of the conntrack table": "cat /sys/module/nf_conntrack/parameters/hashsize",
    "a keyring": f'python3 -c "{KEYRING}"',
    "a bpf map": f'python3 -c "{MAP}"',
}
ANYWAY = {
    "the host's modules": "test -d /usr/lib/modules/$(uname -r)/kernel",
    "vxlan": "ip link add vx type vxlan id 1 dstport 4789 && ip link delete vx",
    "a bridge": "ip link add cni0 type bridge && ip link delete cni0",
    "an overlay": "cd $(mktemp -d -p /var) && mkdir a b c d && "
    "mount -t overlay x -o lowerdir=a,upperdir=b,workdir=c d && umount d",
    "controllers": "cd /sys/fs/cgroup && for c in cpuset cpu memory pids; do "
    "grep -qw $c cgroup.controllers || exit; done",
    "sysctls": "test $(cat /proc/sys/vm/overcommit_memory)$(cat /proc/sys/kernel/panic) = 110",
    "timeouts of conntrack": "echo 86400 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established",
}
#: open_by_handle_at(2): of /etc on the file system that /var is on, the host's.
HANDLE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
handle, mount = ctypes.create_string_buffer(bytes((128, 0, 0, 0)), 136), ctypes.c_int()
assert libc.syscall(303, -100, b'/var', handle, ctypes.byref(mount), 0) == 0, os.strerror(ctypes.get_errno())
print('named')
assert libc.syscall(304, os.open('/var', os.O_RDONLY), handle, 0) >= 0, os.strerror(ctypes.get_errno())
"""
#: What is closed: the host's disks, those of the device mapper too, and files by their handles.
CLOSED = (
    "mknod /tmp/disk b $(cat /sys/class/block/vda/dev | tr : ' ')",
    "mknod /tmp/loop b 7 0",
    "mknod /tmp/mapped b 253 0",
    "echo x >/usr/lib/modules/x",
    f'python3 -c "{HANDLE}"',
)

pytestmark = pytest.mark.full


def works(machine: VirtualMachine, script: str) -> bool:
    """Return whether a shell command succeeds in the guest."""
    words = ("systemd-run", "--machine=web", "--pipe", "--wait", "--quiet", "--collect", "sh", "-c", script)
    return machine.run(shlex.join(words)).returncode == 0


def deploy() -> Outcome:
    return converge("-y", "--json", "--limit", "vm1", guests=GUESTS)


def test_all_that_k3s_needs_is_there_and_after_a_reboot_too(booted: Machines):
    machine = booted["vm1"]
    first = deploy()
    assert "load the modules and set the sysctls that k3s needs, now and at boot" in first.lines("vm1")
    assert deploy().json["results"]["totals"]["success"] == 0
    everything = {**NEEDED, **ANYWAY}
    assert [what for what, script in everything.items() if not works(machine, script)] == []
    assert [script for script in CLOSED if works(machine, script)] == []
    assert inside(machine, "web", f'python3 -c "{HANDLE}" 2>/dev/null; true') == "named\n"
    config = inside(machine, "web", "cd /etc/rancher/k3s && stat -c %a config.yaml && cat config.yaml")
    assert config == '600\nkube-proxy-arg: ["conntrack-max-per-core=0"]\nnode-label: ["zone=lab"]\n'
    assert machine.succeed("systemctl show -P TasksMax systemd-nspawn@web") == "infinity\n"

    machine.reboot()
    machine.wait_until_succeeds("systemctl -M web is-system-running --wait", GUEST_SECONDS)
    assert [what for what, script in everything.items() if not works(machine, script)] == []
    assert deploy().json["results"]["totals"]["success"] == 0


def test_a_guest_without_the_profile_lacks_it(booted: Machines):
    machine = booted["vm1"]
    converge("-y", "--limit", "vm1", guests=PLAIN)
    assert [what for what, script in NEEDED.items() if works(machine, script)] == []


def test_a_module_that_cannot_be_loaded_is_named(booted: Machines):
    machine = booted["vm1"]
    machine.succeed("echo 'install vxlan /bin/false' >/etc/modprobe.d/lab.conf")
    words = ("-y", "--json", "--limit", "vm1", FLEET)
    outcome = pyinfra(*words, inventory=INVENTORY, guests=GUESTS)
    assert outcome.code == 1
    assert "modules cannot be loaded: " in "\n".join(outcome.lines("vm1"))
    machine.fail("machinectl show web")
