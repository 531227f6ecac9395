"""Devices of the host that a guest may open."""

import pytest

from pyinfra_nspawn.plans.render.definition import define
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.base import InvalidSpecError


def refusal(*devices: str) -> str:
    with pytest.raises(InvalidSpecError) as refused:
        Guest.of({"name": "web", "devices": list(devices)}, "lab1")
    return str(refused.value)


@pytest.mark.parametrize(
    "device",
    [
        "/dev/kmsg",
        "/dev/kmsg x",
        "/dev/kmsg wr",
        "/dev/../etc/shadow r",
        "/dev/ r",
        "/etc/shadow r",
        "char-pts rw",
        "/dev/sd* r",
        "/dev/%i r",
        "/dev/a b r",
    ],
)
def test_what_is_no_device_with_its_access_is_refused(device):
    assert "must be a device's path and its access" in refusal(device)


def test_a_device_is_given_once():
    assert "/dev/kmsg is given twice" in refusal("/dev/kmsg r", "/dev/kmsg rw")
    assert "/dev/net/tun is given twice, or every guest's" in refusal("/dev/net/tun r")


def test_a_guest_sees_its_devices_and_may_open_them():
    made = define(Guest(name="web", devices=("/dev/kmsg r", "/dev/fuse rw")))
    assert {"--bind-ro=/dev/kmsg", "--bind=/dev/fuse"} <= set(made.command)
    assert {"/dev/kmsg r", "/dev/fuse rw"} <= set(made.devices)
    assert "DeviceAllow=\nDeviceAllow=/dev/fuse rw\nDeviceAllow=/dev/kmsg r\n" in made.files[
        made.boot
    ].replace('"', "")
