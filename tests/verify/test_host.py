"""What a host of guests promises."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.specs.base import MANAGED
from pyinfra_nspawn.specs.host import STATE_DIRECTORY, SYSCTL_FILE, inotify_instances
from pyinfra_nspawn.specs.layout import Layout
from pyinfra_nspawn.verify.places import deployments

if TYPE_CHECKING:
    from pyinfra_nspawn.verify.places import Host

NO_GUESTS = "no guests are wanted"


def test_the_host_was_booted_from_ostree(host: Host) -> None:
    kind = host.answer("stat", "-c", "%F", "/run/ostree-booted")
    host.expect("/run/ostree-booted", "a file", "a file" if "regular" in kind else kind)
    booted = [line for line in host.status.splitlines() if line.startswith("*")]
    host.expect("the number of booted deployments in `ostree admin status`", 1, len(booted))


def test_machines_target_is_enabled(host: Host) -> None:
    found = host.properties(("UnitFileState",), "machines.target")["UnitFileState"]
    host.expect("machines.target, which starts the guests with the host,", "enabled", found)


def test_the_inotify_limit_in_force_is_enough_for_the_guests(host: Host) -> None:
    found = int(host.output("cat", "/proc/sys/fs/inotify/max_user_instances"))
    needed = inotify_instances(len(host.guests))
    if found < needed:
        host.fail(f"expected fs.inotify.max_user_instances of {needed} or more in force, found {found}")


def test_the_inotify_limit_of_the_next_boot_is_enough_for_the_guests(host: Host) -> None:
    """The last assignment in the files' order is what holds, whichever file it is in."""
    if not host.guests:
        pytest.skip(NO_GUESTS)
    files = host.output("systemd-analyze", "cat-config", "--no-pager", "sysctl.d")
    values = re.findall(r"(?m)^-?fs[./]inotify[./]max_user_instances *= *(\d+)", files)
    found = int(values[-1]) if values else 0
    needed = inotify_instances(len(host.guests))
    if found < needed:
        host.fail(f"expected fs.inotify.max_user_instances of {needed} or more in sysctl.d, found {found}")


def test_our_sysctl_file_is_ours(host: Host) -> None:
    if not host.guests:
        pytest.skip(NO_GUESTS)
    host.expect(f"mode and owner of {SYSCTL_FILE}", "0644 root:root", host.mode(SYSCTL_FILE))
    host.expect(f"the first line of {SYSCTL_FILE}", MANAGED, host.answer("head", "-n", "1", SYSCTL_FILE))


def test_no_user_of_the_host_can_reach_the_guests(host: Host) -> None:
    """Guest root can leave a setuid-root file in its /var."""
    if not host.guests:
        pytest.skip(NO_GUESTS)
    host.expect(f"mode and owner of {STATE_DIRECTORY}", "0700 root:root", host.mode(STATE_DIRECTORY))


def test_the_hosts_deployments_are_its_own(host: Host) -> None:
    stateroots = {deployment.split()[0] for deployment in deployments(host.status)}
    found = sorted(stateroots & host.guests_beside_it)
    host.expect("guests in the host's `ostree admin status`", [], found)


def test_nothing_is_left_of_guests_that_are_to_be_absent(host: Host) -> None:
    """But their /var, in what was their sysroot, unless it was to be purged."""
    if not host.absent:
        pytest.skip("no guest is to be absent")
    for guest in host.absent:
        layout = Layout.of(guest)
        places = (layout.settings_file, layout.dropins, layout.current, layout.credentials)
        sysroot = (layout.directory,) if guest.purge else ()
        found = [path for path in (*places, *sysroot) if host.mode(path) != "nothing"]
        host.expect(f"what is left of guest {guest.name}", [], found)
        shown = host.properties(("ActiveState", "UnitFileState"), layout.unit)
        host.expect(f"{layout.unit}", "inactive, disabled", ", ".join(shown[key] for key in sorted(shown)))


def test_the_bridge_has_its_uplinks_and_addresses(host: Host) -> None:
    if host.bridge is None:
        pytest.skip("the inventory names no bridge")
    name, wanted = host.bridge.name, host.bridge.state == "present"
    links = {link["ifname"]: link for link in json.loads(host.output("ip", "-j", "address"))}
    host.expect(f"bridge {name}", "there" if wanted else "absent", "there" if name in links else "absent")
    if not wanted:
        return
    ports = [link for link in links.values() if link.get("master") == name]
    for uplink in host.bridge.uplinks:
        known = [{link["ifname"], link.get("address"), link.get("permaddr")} for link in ports]
        if not any(fnmatchcase(text, uplink) for texts in known for text in texts if text):
            host.fail(f"expected uplink {uplink} to be a port of {name}, found no such port")
    found = {f"{item['local']}/{item['prefixlen']}" for item in links[name]["addr_info"]}
    missing = sorted(set(host.bridge.addresses) - found)
    host.expect(f"addresses that {name} lacks", [], missing)


def test_the_hosts_boot_menu_has_no_guest(host: Host) -> None:
    entries = host.output("sh", "-c", "cat /boot/loader/entries/*.conf")
    stateroots = set(re.findall(r"\bostree=/ostree/boot\.[01][^/]*/([^/]+)/", entries))
    if not stateroots:
        host.fail("expected an entry with `ostree=` in /boot/loader/entries, found none")
    found = sorted(stateroots & host.guests_beside_it)
    host.expect("guests in the host's boot menu", [], found)
