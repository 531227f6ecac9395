"""What a guest promises on its host, whether or not it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.plans.dropins import vital_keys
from pyinfra_nspawn.specs.base import MANAGED
from pyinfra_nspawn.verify.places import deployments
from pyinfra_nspawn.verify.quantities import mebibytes_of_host, microseconds, size

if TYPE_CHECKING:
    from pyinfra_nspawn.verify.places import Guest

DROPINS = ("50-ostree.conf", "60-limits.conf")


def files(guest: Guest) -> list[str]:
    return [f"{guest.layout.dropins}/{name}" for name in DROPINS]


# What it boots.


def test_no_user_of_the_host_can_reach_into_the_guest(guest: Guest) -> None:
    shared = (guest.layout.stateroot,) if guest.spec.sysroot == "shared" else ()
    for path in (guest.layout.directory, *shared):
        guest.expect(f"mode and owner of {path}", "0700 root:root", guest.host.mode(path))


def test_current_points_at_one_of_the_guests_deployments(guest: Guest) -> None:
    own = rf"{re.escape(guest.layout.deployments)}/[0-9a-f]{{64}}\.[0-9]+"
    if not re.fullmatch(own, guest.current):
        wanted = f"a deployment in {guest.layout.deployments}"
        guest.fail(f"expected {guest.layout.current} to point at {wanted}, found {guest.current}")
    kind = guest.host.answer("stat", "-L", "-c", "%F", guest.layout.current)
    guest.expect(f"what {guest.layout.current} points at", "directory", kind)


def test_ostree_knows_the_current_deployment(guest: Guest) -> None:
    sysroot = () if guest.spec.sysroot == "shared" else (f"--sysroot={guest.layout.directory}",)
    known = deployments(guest.host.output("ostree", "admin", *sysroot, "status"))
    wanted = f"{guest.spec.name} {guest.current.rpartition('/')[2]}"
    if wanted not in known:
        guest.fail(
            f"expected {wanted} in the guest's `ostree admin status`, found {', '.join(known) or 'none'}"
        )


def test_the_current_commit_is_in_the_guests_repository(guest: Guest) -> None:
    """A commit that is only partly there says so in state/COMMIT.commitpartial."""
    commit = guest.current.rpartition("/")[2].partition(".")[0]
    repository = guest.repository
    guest.host.output("ostree", f"--repo={repository}", "show", commit)
    partial = guest.host.mode(f"{repository}/state/{commit}.commitpartial")
    guest.expect(f"{repository}/state/{commit}.commitpartial", "nothing", partial)


def large_objects(guest: Guest, repository: str) -> dict[str, tuple[str, str]]:
    """Return the device and inode of each object of more than 1 MiB."""
    show = ("-exec", "stat", "-c", "%n %d %i", "{}", "+")
    found = guest.host.output(*("find", f"{repository}/objects", "-name", "*.file", "-size", "+1024k"), *show)
    lines = (line.split() for line in found.splitlines())
    return {path.rpartition("/objects/")[2]: (device, inode) for path, device, inode in lines}


def test_the_guest_can_be_rolled_back(guest: Guest) -> None:
    """One that was never upgraded has nothing to go back to."""
    fallback = guest.layout.fallback
    if guest.host.mode(fallback) != "nothing":
        kind = guest.host.answer("stat", "-L", "-c", "%F", fallback)
        guest.expect(f"what {fallback} points at", "directory", kind)


def test_the_guest_boots_no_commit_that_was_refused(guest: Guest) -> None:
    path = f"{guest.layout.directory}/refused-commits"
    booted = guest.current.rpartition("/")[2].partition(".")[0]
    if booted in guest.host.run("cut", "-d", " ", "-f", "1", path).stdout.split():
        guest.fail(f"expected another commit than {booted}, which {path} names, found it in current")


def test_no_change_of_the_guest_was_cut_off(guest: Guest) -> None:
    found = guest.host.mode(guest.layout.trial)
    guest.expect(guest.layout.trial, "nothing", found)


def test_the_guest_shares_its_objects_with_the_host(guest: Guest) -> None:
    """One shared object proves the hard links: those that the host fetched anew later are others."""
    if guest.spec.sysroot == "shared":
        pytest.skip(f"{guest} is deployed from the host's own repository")
    own = large_objects(guest, guest.repository)
    hosts = large_objects(guest, "/ostree/repo")
    common = own.keys() & hosts.keys()
    if not common:
        pytest.skip(f"{guest} has no large object that its host has too")
    if not any(own[path][0] == hosts[path][0] for path in common):
        pytest.skip(f"{guest} is on another file system than its host's /ostree")
    shared = [path for path in common if own[path] == hosts[path]]
    if not shared:
        guest.fail(f"expected large objects to be the host's own inodes, found none of {len(common)}")


# How it is defined.


def test_the_guests_files_are_ours(guest: Guest) -> None:
    for path in files(guest):
        guest.expect(f"the first line of {path}", MANAGED, guest.host.answer("head", "-n", "1", path))


def test_the_guests_files_are_roots(guest: Guest) -> None:
    for path in files(guest):
        guest.expect(f"mode and owner of {path}", "0644 root:root", guest.host.mode(path))


def test_nobody_else_has_a_drop_in_for_the_guest(guest: Guest) -> None:
    own = {path for path in guest.dropins if f"/{guest.layout.unit}.d/" in path}
    guest.expect("drop-ins of somebody else", [], sorted(own - set(files(guest))))


def test_no_drop_in_of_all_guests_or_services_touches_the_guests_wall(guest: Guest) -> None:
    """One that sets something else, like Nice=, is the administrator's to have."""
    shared = [path for path in guest.dropins if f"/{guest.layout.unit}.d/" not in path]
    vital = {path: vital_keys(guest.host.content(path)) for path in shared}
    found = [f"{path} with {', '.join(keys)}" for path, keys in vital.items() if keys]
    guest.expect("drop-ins that set what its wall or start rests on", [], found)


def test_systemd_has_loaded_the_guests_files(guest: Guest) -> None:
    missing = sorted(set(files(guest)) - set(guest.unit["DropInPaths"].split()))
    guest.expect("drop-ins that systemd has not loaded", [], missing)
    guest.expect(f"NeedDaemonReload of {guest.layout.unit}", "no", guest.unit["NeedDaemonReload"])


def test_the_unit_is_an_instance_of_systemds_template(guest: Guest) -> None:
    template = guest.unit["FragmentPath"].rpartition("/")[2]
    guest.expect(f"the file of {guest.layout.unit}", "systemd-nspawn@.service", template)


def test_only_root_reads_the_guests_credentials(guest: Guest) -> None:
    directory = guest.layout.credentials
    guest.expect(f"mode and owner of {directory}", "0700 root:root", guest.host.mode(directory))
    listed = guest.host.output(
        "find", directory, "-type", "f", "-exec", "stat", "-c", "%a %U:%G %n", "{}", "+"
    )
    for line in listed.splitlines():
        mode, owner, path = line.split(" ", 2)
        guest.expect(f"mode and owner of {path}", "600 root:root", f"{mode} {owner}")


def test_the_guests_credentials_are_on_the_host(guest: Guest) -> None:
    wanted = set(guest.spec.credentials)
    if guest.spec.network.addresses:
        wanted.add("network.network.10-pyinfra-nspawn")
    if guest.spec.authorized_keys or guest.spec.files:
        wanted.add("tmpfiles.extra")  # it writes them
    found = set(guest.host.output("ls", guest.layout.credentials).split())
    guest.expect("the names of the credentials", sorted(wanted), sorted(found))


# What systemd does with it.


def test_the_guest_starts_with_the_host_as_wanted(guest: Guest) -> None:
    wanted = "enabled" if guest.spec.autostart else "disabled"
    guest.expect(guest.layout.unit, wanted, guest.unit["UnitFileState"])


def test_the_guest_runs_as_wanted(guest: Guest) -> None:
    wanted = "active" if guest.spec.state == "running" else "inactive"
    guest.expect(guest.layout.unit, wanted, guest.unit["ActiveState"])


def test_the_guest_is_restarted_as_wanted(guest: Guest) -> None:
    guest.expect(f"Restart of {guest.layout.unit}", guest.spec.restart, guest.unit["Restart"])


def test_the_guests_memory_is_limited(guest: Guest) -> None:
    wanted = guest.spec.limits.memory_max
    if wanted is None:
        pytest.skip("no limit of memory is wanted")
    found = guest.unit["MemoryMax"]
    if wanted == "infinity":
        guest.expect("MemoryMax", wanted, found)
    elif wanted.endswith("%"):
        # Of what systemd takes for the host's memory, which is never more than there is.
        total = mebibytes_of_host(guest.host.output("cat", "/proc/meminfo"))
        most = total * int(wanted[:-1]) // 100
        if not found.isdigit() or int(found) >> 20 > most:
            guest.fail(f"expected MemoryMax of {wanted}, at most {most} MiB, found {found}")
    else:
        guest.expect("MemoryMax", str(size(wanted)), found)


def test_the_guests_cpu_time_is_limited(guest: Guest) -> None:
    wanted = guest.spec.limits.cpu_quota
    if wanted is None:
        pytest.skip("no limit of CPU time is wanted")
    found = guest.unit["CPUQuotaPerSecUSec"]
    guest.expect(
        f"CPUQuotaPerSecUSec ({found}) in microseconds", int(wanted[:-1]) * 10_000, microseconds(found)
    )


def test_the_guest_has_its_share_of_the_disks(guest: Guest) -> None:
    wanted = guest.spec.limits.io_weight
    if wanted is None:
        pytest.skip("no share of the disks is wanted but the default")
    guest.expect("IOWeight", str(wanted), guest.unit["IOWeight"])


def test_the_guests_tasks_are_limited(guest: Guest) -> None:
    wanted = guest.spec.limits.tasks_max
    if wanted is None:
        pytest.skip("no limit of tasks is wanted but the template's")
    guest.expect("TasksMax", str(wanted), guest.unit["TasksMax"])
