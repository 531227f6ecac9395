"""A guest in the host's own /ostree: what the host boots, and in which order, stays; else it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import BOTH, deploy, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.lab.stand_in import stand_ins

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

GUEST: dict[str, Any] = {"name": "web", "sysroot": "shared", "isolation": "overlay"}
ENTRIES = "ostree admin status | sed -n 's/^[* ] \\([^ ]* [0-9a-f]*[.][0-9]*\\).*/\\1/p'"
GREENBOOT = "/etc/systemd/system/greenboot-healthcheck.service"
HEALTHCHECK = "[Service]\\nExecStart=true\\n[Install]\\nWantedBy=multi-user.target\\n"
FALLBACKS = {
    "boot_counter": (
        "mkdir -p /boot/grub2; printf '# GRUB Environment Block\\nboot_counter=2\\n' >/boot/grub2/grubenv",
        "rm -r /boot/grub2",
        "boot_counter (in /boot/grub2/grubenv)",
    ),
    "greenboot": (
        f"printf '{HEALTHCHECK}' >{GREENBOOT}; systemctl enable {GREENBOOT}",
        f"systemctl disable greenboot-healthcheck.service; rm -f {GREENBOOT}",
        "greenboot",
    ),
}


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_it_is_refused_where_a_fallback_would_boot_it(fresh: dict[str, Host], fallback: str):
    make, mend, name = FALLBACKS[fallback]
    unfit, (other,) = fresh["lab1"], (fresh["lab2"],)
    before = unfit.succeed(ENTRIES)
    unfit.succeed(make)
    try:
        outcome = deploy("-y", guests=[GUEST])
    finally:
        unfit.succeed(mend)
    assert outcome.code == 1
    sentence = f"web: {name} falls back to the host's second boot entry"
    assert any(line.startswith(sentence) for line in outcome.lines("lab1")), outcome.stderr
    assert unfit.succeed(ENTRIES) == before
    unfit.fail("test -e /sysroot/ostree/deploy/web")
    assert other.succeed("systemctl -M web is-system-running") == "running\n"
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}])


# A dot is no pattern, and a name may end or begin like another.
ALIKE = ["w.b", "web", "my-web", "web-1"]


def test_guests_with_names_alike_do_not_touch_each_other(fresh: dict[str, Host]):
    guests = [{**GUEST, "name": name} for name in ALIKE]
    succeed(guests=guests)
    started = "systemctl show systemd-nspawn@{} -p ExecMainStartTimestampMonotonic"
    for name in ("w.b", "web"):
        others = [guest for guest in guests if guest["name"] != name]
        before = {
            (host, guest["name"]): host.succeed(started.format(guest["name"]))
            for host in fresh.values()
            for guest in others
        }
        gone = {"name": name, "state": "absent", "purge": True}
        assert succeed(guests=[*others, gone]).json["results"]["totals"]["success"] == 2
        for (host, other), since in before.items():
            assert host.succeed(started.format(other)) == since
        for host in fresh.values():
            stateroots = [line.split()[0] for line in host.succeed(ENTRIES).splitlines()]
            assert sorted(stateroots) == sorted(["host", *(guest["name"] for guest in others)])
        succeed(guests=guests)
    succeed(guests=[{"name": name, "state": "absent", "purge": True} for name in ALIKE])


def test_a_commit_that_only_the_remote_has(fresh: dict[str, Host]):
    def follow(host: Host) -> None:
        wanted = {**GUEST, "source": f"lab:{host.spec.generation.remote_ref}"}
        succeed("-y", "--limit", host.name, guests=[wanted])
        assert inside(host, "web", "cat /usr/lib/lab-release") == f"{host.spec.generation.major}.3\n"
        again = succeed("-y", "--json", "--limit", host.name, guests=[wanted])
        assert again.json["results"]["totals"]["success"] == 0

    on_each(fresh.values(), follow)
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}])


SMALL_BOOT = """
mkdir /run/boot
mount -t tmpfs -o size=$(($(du -sk /boot | cut -f 1) + 2048))k tmpfs /run/boot
cp -a /boot/. /run/boot
mount --bind /run/boot /boot
"""


def test_its_kernel_must_have_space_in_boot(fresh: dict[str, Host]):
    for host in fresh.values():
        host.succeed(SMALL_BOOT)
    try:
        outcome = deploy("-y", guests=[GUEST])
        for host in fresh.values():
            assert " web " not in host.succeed("ostree admin status")
    finally:
        for host in fresh.values():
            host.succeed("umount /boot /run/boot; rmdir /run/boot")
    assert outcome.code == 1
    for name in BOTH:
        said = [line for line in outcome.lines(name) if line.startswith("web: its kernel takes ")]
        assert said, outcome.stderr
        assert said[0].endswith("left. Free some, or set `sysroot` to 'private'.")


def test_the_order_of_the_hosts_entries_stays(fresh: dict[str, Host]):
    """The host has three: the one that it boots next, the one that it booted, and an older one."""

    def make_three(host: Host) -> None:
        host.succeed(f"ostree admin deploy --os=host {host.spec.generation.next_ref}")
        host.reboot()
        host.succeed(f"ostree admin deploy --retain --os=host {host.spec.generation.ref}")

    on_each(fresh.values(), make_three)
    before = {name: host.succeed(ENTRIES) for name, host in fresh.items()}
    outcome = succeed(guests=[GUEST])
    for name, host in fresh.items():
        assert len(before[name].splitlines()) == 3
        after = host.succeed(ENTRIES).splitlines()
        assert after[0] == before[name].splitlines()[0]
        assert [line for line in after if not line.startswith("web ")] == before[name].splitlines()
        assert not any("set back" in line or "has changed" in line for line in outcome.lines(name))


# It makes what it deploys the default, whatever it was told.
DISOBEYS = """
$real "$@" || exit
case " $* " in
*" --not-as-default "*) $real admin set-default 1 ;;
esac
"""


def test_a_default_that_moved_is_set_back_and_told(fresh: dict[str, Host]):
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}])
    before = {name: host.succeed(ENTRIES) for name, host in fresh.items()}
    with stand_ins(fresh.values(), "ostree", DISOBEYS):
        outcome = succeed("-y", guests=[GUEST])
    for name, host in fresh.items():
        assert host.succeed(ENTRIES).splitlines()[0] == before[name].splitlines()[0]
        assert any("its default is set back to host" in line for line in outcome.lines(name))
