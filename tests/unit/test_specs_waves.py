"""In which order the hosts of a fleet are upgraded."""

import pytest

from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.waves import Waves

TEN = ["10.0.0.5", *(f"h{number}" for number in range(1, 10))]
GROUPS = {"canaries": ["h7", "h2"], **{name: [name] for name in TEN}}


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ((1, 3, 6), [1, 3, 6]),
        ((1, 3), [1, 3, 6]),
        ((1, "25%"), [1, 3, 6]),
        ((), [10]),
        (("100%",), [10]),
        (("canaries",), [2, 8]),
        (("h5", 2), [1, 2, 7]),
        (("10.0.0.5",), [1, 9]),
        ((50,), [10]),
    ],
)
def test_waves(given: tuple[object, ...], sizes: list[int]):
    found = Waves.of({"upgrade_waves": list(given)}, "x").waves(TEN, GROUPS)
    assert [len(wave) for wave in found] == sizes
    assert sorted(name for wave in found for name in wave) == TEN


def test_a_group_comes_in_the_inventory_s_order():
    assert Waves(upgrade_waves=("canaries", 1)).waves(TEN, GROUPS)[:2] == (("h2", "h7"), ("10.0.0.5",))


def test_by_default_one_host_comes_first():
    assert Waves().waves(TEN, GROUPS)[0] == ("10.0.0.5",)


def test_a_host_that_this_run_leaves_out_is_in_no_wave():
    assert Waves(upgrade_waves=("h5",)).waves(["h0"], GROUPS) == (("h0",),)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="upgrade_waves: there is no host or group canary"):
        Waves(upgrade_waves=("canary",)).waves(TEN, GROUPS)


@pytest.mark.parametrize("wave", [0, -1, "0%", "101%", "5 hosts", "", True, None, 1.5])
def test_what_is_no_wave_is_refused(wave: object):
    with pytest.raises(InvalidSpecError, match="must be a number of hosts, a share"):
        Waves.of({"upgrade_waves": [wave]}, "x")
