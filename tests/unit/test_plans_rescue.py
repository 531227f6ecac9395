"""The command that enters a guest without its init: as the guest's own, but for the init."""

from __future__ import annotations

import pytest

from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.render.rescue import rescue_words
from tests.unit.seen import guest


@pytest.mark.parametrize("isolation", ["private-users", "overlay", "none"])
@pytest.mark.parametrize("sysroot", ["private", "shared"])
def test_it_runs_what_the_unit_runs_but_for_the_init(isolation: str, sysroot: str):
    wanted = guest(isolation=isolation, sysroot=sysroot, mask_units=["a.service"], devices=["/dev/kmsg r"])
    words = rescue_words(wanted, ["sh", "-c", "echo $HOME"])
    at = words.index("--")
    properties, runs = words[:at], [word.replace("$$", "$") for word in words[at + 1 :]]
    assert runs[-5:] == ["--as-pid2", "--", "sh", "-c", "echo $HOME"]
    left_out = {"--boot", "--notify-ready=yes", "systemd.mask=a.service"}
    assert runs[:-5] == [word for word in define(wanted).command if word not in left_out]
    assert "--property=DevicePolicy=closed" in properties
    assert "--property=DeviceAllow=/dev/kmsg r" in properties


def test_no_secret_is_on_its_command_line():
    words = rescue_words(guest(credentials={"token": "hunter2"}, files={"/etc/x": "hunter2"}), ["sh"])
    assert not any("hunter2" in word or "credential" in word for word in words)


def test_its_limits_are_the_guest_s():
    words = rescue_words(guest(limits={"memory_max": "1G", "cpu_quota": "50%", "tasks_max": 99}), ["sh"])
    assert {"--property=MemoryMax=1G", "--property=CPUQuota=50%", "--property=TasksMax=99"} < set(words)
