"""What a host must be, and what it is given."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans import host as plans
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import HOST, NEW, OLD, deployment, guest, host_sysroot, own, sysroots

BARE = replace(HOST, commands=("flock", "ostree", "rpm-ostree", "unshare"))
LAYER = HostSettings(layer_packages=True)


def preflight(
    host: Host, settings: HostSettings | None = None, *, layering: bool = False, found=None
) -> Plan:
    return plans.preflight(
        settings or HostSettings(), (guest(),), host, found or sysroots(), layering=layering
    )


def test_a_fit_host():
    assert preflight(HOST) == Plan()


@pytest.mark.parametrize(
    ("changed", "sentence", "remedy"),
    [
        ({"root": False}, "no root rights", "set `_sudo`"),
        ({"ostree_booted": False}, "not booted from OSTree", "OSTree host"),
        ({"commands": ()}, "no `ostree` command", "install the package"),
        ({"systemd_version": 249}, "systemd is 249", "update the host"),
        ({"kernel": "5.10.0-8"}, "kernel is 5.10.0-8", "update the host"),
        (
            {"kernel": "5.14.0", "state_file_system": "btrfs"},
            "id-mapped mounts of btrfs need 5.15",
            "update the host",
        ),
        ({"cgroup_version": 1}, "cgroup v1", "systemd.unified_cgroup_hierarchy=1"),
        ({"max_user_namespaces": 0}, "user namespaces are forbidden", "user.max_user_namespaces"),
        ({"state_file_system": "zfs"}, "/var/lib/pyinfra-nspawn lies on zfs", "put it on one of btrfs"),
        ({"free_bytes": 2**20}, "/var/lib/pyinfra-nspawn has 1 MiB left", "free some"),
    ],
)
def test_an_unmet_precondition_and_its_remedy(changed, sentence: str, remedy: str):
    refusals = preflight(replace(HOST, **changed)).refusals
    assert any(sentence in refusal and remedy in refusal for refusal in refusals), refusals


def test_every_unmet_precondition_is_in_one_list():
    assert len(preflight(replace(HOST, root=False, ostree_booted=False, cgroup_version=1)).refusals) == 3


def test_space_is_asked_for_only_when_a_guest_is_to_be_made():
    assert preflight(replace(HOST, free_bytes=0), found=sysroots(own(OLD))) == Plan()


def test_a_missing_systemd_container():
    assert "no `machinectl` command" in preflight(BARE).refusals[0]
    assert "run deploys/host.py, reboot, then run again" in preflight(BARE, LAYER).refusals[0]
    assert preflight(BARE, LAYER, layering=True) == Plan()
    assert preflight(BARE, layering=True).refusals


def test_layering_is_done_once_and_asks_for_a_reboot():
    assert plans.container_package(LAYER, HOST, sysroots()) == Plan()
    assert plans.container_package(LAYER, BARE, sysroots()).steps[0].script == "layer"
    assert plans.container_package(HostSettings(), BARE, sysroots()).refusals
    staged = deployment(OLD, "fedora", staged=True, packages=("systemd-container",))
    found = sysroots(host=host_sysroot(deployments=(staged,)))
    assert plans.container_package(LAYER, BARE, found).refusals == (
        "systemd-container is layered but not booted: reboot, then run again",
    )


def test_machines_target():
    assert plans.machines_target(HOST).steps
    assert plans.machines_target(replace(HOST, machines_target="enabled")) == Plan()


def test_inotify_is_raised_to_what_the_guests_need():
    plan = plans.inotify((guest(), guest(name="db")), HOST)
    assert plan.steps[0].arguments == ("/etc/sysctl.d/60-pyinfra-nspawn.conf", "160")
    assert "fs.inotify.max_user_instances = 160\n" in plan.steps[0].stdin
    after = replace(HOST, inotify_instances=160, sysctl_file=plan.steps[0].stdin)
    assert plans.inotify((guest(), guest(name="db")), after) == Plan()


def test_inotify_is_never_lowered():
    high = replace(HOST, inotify_instances=8192)
    assert plans.inotify((guest(),), high).steps[0].arguments[1] == "8192"
    file = "# Managed by pyinfra-nspawn\nfs.inotify.max_user_instances = 8192\n"
    assert plans.inotify((guest(),), replace(high, sysctl_file=file)) == Plan()


def test_a_file_of_somebody_else_in_the_place_of_ours():
    found = replace(HOST, sysctl_file="fs.inotify.max_user_instances = 1\n")
    assert "is not ours: move it away" in plans.inotify((guest(),), found).refusals[0]


def test_inotify_after_a_boot_that_lost_it():
    file = "# Managed by pyinfra-nspawn\nfs.inotify.max_user_instances = 144\n"
    assert plans.inotify((guest(),), replace(HOST, sysctl_file=file)).steps


def test_selinux():
    assert plans.selinux(HostSettings(), HOST) == Plan()
    wanted = HostSettings(selinux="permissive")
    assert plans.selinux(wanted, HOST).steps[0].arguments == ("permissive",)
    now_only = replace(HOST, selinux="permissive")
    assert plans.selinux(wanted, now_only).steps
    assert plans.selinux(wanted, replace(now_only, selinux_configured="permissive")) == Plan()
    assert plans.selinux(wanted, replace(HOST, selinux="disabled")).refusals


def test_a_host_that_could_not_be_read():
    unknown = Unreadable("no")
    assert plans.preflight(HostSettings(), (), unknown, sysroots(), layering=False).refusals
    assert plans.preflight(HostSettings(), (), HOST, unknown, layering=False).refusals
    assert plans.container_package(HostSettings(), unknown, sysroots()).refusals
    assert plans.machines_target(unknown).refusals
    assert plans.inotify((), unknown).refusals
    assert plans.selinux(HostSettings(), unknown).refusals


@pytest.mark.parametrize(
    ("following", "says"),
    [
        (
            deployment(NEW, "fedora"),
            "the host boots another deployment next, whose /etc was made before this run",
        ),
        (deployment(NEW, "web"), "the host boots stateroot web next, not its own"),
    ],
)
def test_what_a_host_boots_next_is_told(following, says: str):
    host = host_sysroot(deployments=(following, deployment(OLD, "fedora", booted=True)))
    (note,) = plans.preflight(HostSettings(), (), HOST, sysroots(host=host), layering=False).notes
    assert note.startswith(says)
