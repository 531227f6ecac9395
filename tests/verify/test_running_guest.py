"""What a guest promises while it runs, from outside and from inside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyinfra_nspawn.verify.places import Guest

DEFINITION = "PYINFRA_NSPAWN_DEFINITION="


def test_the_guest_says_that_it_is_running(running: Guest) -> None:
    found = running.host.answer("systemctl", "-M", running.spec.name, "is-system-running")
    if found == "degraded":
        failed = running.inside("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        found += f": {', '.join(line.split()[0] for line in failed.splitlines())} failed"
    running.expect("`systemctl is-system-running` in the guest", "running", found)


# What it was started from.


def test_the_guest_runs_its_present_definition(running: Guest) -> None:
    """The running nspawn tells what it was started with; the file is what a restart would give."""
    path = f"{running.layout.dropins}/50-ostree.conf"
    marked = f"Environment={DEFINITION}"
    lines = running.host.output("cat", path).splitlines()
    written = [line.removeprefix(marked) for line in lines if line.startswith(marked)]
    environment = running.environment_of(running.unit["MainPID"])
    started = [item.removeprefix(DEFINITION) for item in environment if item.startswith(DEFINITION)]
    running.expect(f"the definition that it runs, by {path},", written, started)


def test_the_guest_runs_its_current_deployment(running: Guest) -> None:
    """Its / may be an overlay above it; its /etc is the deployment's own."""
    found = running.mounts["/etc"].root
    if not found.endswith(running.etc):
        running.fail(f"expected its /etc to be …{running.etc}, found {found}")


# What keeps it from the host.


def test_guest_root_is_no_root_on_the_host(running: Guest) -> None:
    """uid_map(5): the first id inside, the id on the host that it is, how many."""
    if running.spec.isolation != "private-users":
        pytest.skip(f"with isolation {running.spec.isolation} it is")
    shown = running.host.output("cat", f"/proc/{running.leader}/uid_map")
    for inside, outside, _ in (line.split() for line in shown.splitlines()):
        if int(outside) < 2**16:
            running.fail(f"expected its user {inside} to be above 65535 on the host, found {outside}")


def test_the_guest_cannot_write_to_its_deployment(running: Guest) -> None:
    mount = running.mounts["/"]
    if running.spec.isolation == "overlay":
        if mount.root != "/":
            running.fail(f"expected its / to be an overlay, found {mount}")
    elif "ro" not in mount.options:
        running.fail(f"expected its / to be mounted read-only, found {mount}")


def test_a_guest_without_isolation_sees_where_it_was_deployed(running: Guest) -> None:
    """ostree marks with `*` what it was booted from: there is a /sysroot, a /boot, an empty ostree-booted."""
    if running.spec.isolation != "none":
        pytest.skip(f"with isolation {running.spec.isolation} it does not")
    booted = [
        line.split()[1:3]
        for line in running.inside("ostree", "admin", "status").splitlines()
        if line[:1] == "*"
    ]
    wanted = [[running.spec.name, running.current.rpartition("/")[2]]]
    running.expect("the deployment that ostree marks as booted in the guest", wanted, booted)


@pytest.mark.parametrize("where", ["/etc", "/var"])
def test_the_guest_keeps_its_etc_and_var(running: Guest, where: str) -> None:
    """Its deployment's own /etc and its stateroot's own /var, writable."""
    wanted = {"/etc": running.etc, "/var": f"{running.stateroot}/var"}
    mount = running.mounts.get(where)
    if mount is None or not mount.root.endswith(wanted[where]) or "rw" not in mount.options:
        running.fail(f"expected {where} to be …{wanted[where]}, writable, found {mount or 'no mount'}")


def test_the_guest_has_a_network_of_its_own(running: Guest) -> None:
    if running.spec.network.kind == "host":
        pytest.skip("it is on its host's")
    shown = running.host.output("cat", f"/proc/{running.leader}/net/dev")
    interfaces = {line.partition(":")[0].strip() for line in shown.splitlines() if ":" in line}
    if "host0" not in interfaces:
        running.fail(f"expected interface host0, found {', '.join(sorted(interfaces)) or 'none'}")


def test_the_guest_is_a_port_of_its_bridge(running: Guest) -> None:
    network = running.spec.network
    if network.kind not in ("bridge", "zone"):
        pytest.skip("it is on none")
    bridge = f"vz-{network.name}" if network.kind == "zone" else network.name or ""
    ports = json.loads(running.host.output("ip", "-j", "link", "show", "master", bridge))
    names = {name for port in ports for name in (port["ifname"], *port.get("altnames", ()))}
    if f"vb-{running.spec.name}" not in names:
        running.fail(f"expected its link vb-{running.spec.name} to be a port of {bridge}, found no such port")


# What it was given.


def test_the_guest_has_its_hostname(running: Guest) -> None:
    wanted = running.spec.hostname or running.spec.name
    running.expect("its hostname", wanted, running.inside("cat", "/proc/sys/kernel/hostname").strip())


def test_the_guest_has_its_quota(running: Guest) -> None:
    most = running.spec.limits.disk_kib
    if not most:
        pytest.skip("no quota is wanted")
    found = int(running.inside("df", "--block-size=1K", "--output=size", "/var").split()[-1])
    if found > most:
        running.fail(f"expected a /var of {most} KiB at most, found {found} KiB: no quota is in force")


def test_the_guest_has_its_machine_id(running: Guest) -> None:
    found = running.inside("cat", "/etc/machine-id").strip()
    if running.spec.machine_id:
        running.expect("its machine id", running.spec.machine_id, found)
    elif len(found) != len("0123456789abcdef0123456789abcdef"):
        running.fail(f"expected a machine id of its own, found {found or 'none'}")


def test_the_guest_lets_its_keys_in(running: Guest) -> None:
    if not running.spec.authorized_keys:
        pytest.skip("no authorized keys are wanted")
    path = "/root/.ssh/authorized_keys"
    running.expect(f"mode and owner of {path}", "0600 root:root", running.mode_inside(path))
    found = running.within.file(path).content_string.splitlines()
    missing = [key for key in running.spec.authorized_keys if key not in found]
    running.expect(f"keys missing from {path}", [], missing)


def test_the_guests_masked_units_are_masked(running: Guest) -> None:
    if not running.spec.mask_units:
        pytest.skip("no masked units are wanted")
    for unit in running.spec.mask_units:
        shown = running.within.service(unit).systemd_properties["LoadState"]
        running.expect(unit, "masked", shown)


def test_the_guest_has_its_files(running: Guest) -> None:
    """Their content is a secret here."""
    if not running.spec.files:
        pytest.skip("no files are wanted")
    for path, file in running.spec.files.items():
        found = running.mode_inside(path, numeric=(file.user.isdigit(), file.group.isdigit()))
        running.expect(f"mode and owner of {path}", f"{file.mode} {file.user}:{file.group}", found)


def test_the_guest_has_its_environment(running: Guest) -> None:
    if not running.spec.environment:
        pytest.skip("no environment is wanted")
    wanted = {f"{name}={value}": name for name, value in running.spec.environment.items()}
    missing = [name for item, name in wanted.items() if item not in running.environment]
    running.expect("variables that its PID 1 has not or otherwise", [], missing)


def test_the_guest_sees_its_binds(running: Guest) -> None:
    if not running.spec.binds:
        pytest.skip("no binds are wanted")
    for bind in running.spec.binds:
        where = bind.target or bind.source
        wanted = {"ro" if bind.read_only else "rw", *(("idmapped",) if bind.idmap else ())}
        mount = running.mounts.get(where)
        if mount is None or not wanted <= mount.options:
            running.fail(
                f"expected a mount at {where} with {', '.join(sorted(wanted))}, found {mount or 'none'}"
            )
