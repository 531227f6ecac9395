"""Which numbers and names an inventory may say: those that systemd and Linux take."""

import pytest

from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.specs import Guests
from pyinfra_nspawn.specs.base import InvalidSpecError
from tests.unit.refused import accepted, refusal

LIMITS = "/etc/systemd/system/systemd-nspawn@web.service.d/60-limits.conf"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *(
            (value, "must be like 512M, 2G or 50%, or 'infinity'")
            for value in ("", "lots", "1.5G", "2g", "-1")
        ),
        *(
            (value, "must be like 512M, 2G or 50%, or 'infinity'")
            for value in ("007M", "0100%", "00", "2P", "1 G")
        ),
        *(
            (value, "a percentage must be 1% to 100%")
            for value in ("0%", "101%", "200%", "999%", "9" * 99 + "%")
        ),
        *((value, "must be at least 1M") for value in ("0", "0M", "0T", "1", "4096", "1023K", "1048575")),
        *((value, "must be at most 16777215T") for value in ("16777216T", str(2**64), str(2**64 - 1))),
        *((value, "must be at most 16777215T") for value in (f"{2**54}K", f"{2**34}G", "9" * 99 + "T")),
    ],
)
def test_memory_that_systemd_would_ignore(value: str, words: str):
    found = refusal(limits={"memory_max": value})
    assert found == f"inventory of host1: limits.memory_max: {words}"


@pytest.mark.parametrize(
    "value", ["infinity", "1%", "99%", "100%", "1M", "1024K", "1048576", "2G", "16777215T"]
)
def test_memory_that_systemd_takes(value: str):
    assert f"\nMemoryMax={value}\n" in define(accepted(limits={"memory_max": value})).files[LIMITS]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *(
            (value, "must be like 150%")
            for value in ("", "1", "1.5%", "-1%", "0150%", "00%", "infinity", "150 %")
        ),
        *((value, "must be 1% to 21474836%") for value in ("0%", "21474837%", f"{2**64}%", "9" * 99 + "%")),
    ],
)
def test_cpu_time_that_systemd_would_ignore(value: str, words: str):
    assert refusal(limits={"cpu_quota": value}) == f"inventory of host1: limits.cpu_quota: {words}"


@pytest.mark.parametrize("value", ["1%", "150%", "21474836%"])
def test_cpu_time_that_systemd_takes(value: str):
    assert f"\nCPUQuota={value}\n" in define(accepted(limits={"cpu_quota": value})).files[LIMITS]


@pytest.mark.parametrize("value", [0, -1, 4194305, 2**64, True, "4096", "", "Infinity", 1.0, [1]])
def test_tasks_that_the_kernel_would_not_take(value: object):
    found = refusal(limits={"tasks_max": value})
    assert found == "inventory of host1: limits.tasks_max: must be a number from 1 to 4194304, or 'infinity'"


@pytest.mark.parametrize("value", [1, 16384, 4194304, "infinity"])
def test_tasks_that_the_kernel_takes(value: object):
    assert f"\nTasksMax={value}\n" in define(accepted(limits={"tasks_max": value})).files[LIMITS]


@pytest.mark.parametrize("value", [0, -1, 86401, 10**15])
def test_a_start_that_systemd_would_not_time(value: int):
    assert ": start_timeout_seconds: " in refusal(start_timeout_seconds=value)
    assert accepted(start_timeout_seconds=86400)


@pytest.mark.parametrize("name", ["CAP_NOSUCH", "CAP_", "cap_net_admin", "CAP_NET", "NET_ADMIN", "ALL", ""])
def test_a_capability_that_linux_does_not_know(name: str):
    words = "capabilities.0: must be a capability that Linux knows, like CAP_NET_ADMIN, or 'all'"
    assert refusal(capabilities=[name]).endswith(words)


@pytest.mark.parametrize(
    "name", ["all", "CAP_CHOWN", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE", "CAP_AUDIT_READ"]
)
def test_a_capability(name: str):
    assert accepted(capabilities=[name]).capabilities == (name,)


@pytest.mark.parametrize("name", ["@nosuch", "~@nosuch", "@bpf"])
def test_a_group_of_system_calls_that_systemd_does_not_know(name: str):
    assert refusal(system_calls=[name]).endswith("`systemd-analyze syscall-filter` lists them")


@pytest.mark.parametrize("name", ["bpf", "~bpf", "@keyring", "~@system-service", "@known", "@sandbox"])
def test_a_system_call_or_a_group(name: str):
    assert accepted(system_calls=[name]).system_calls == (name,)


def test_a_machine_id_of_zeros():
    assert refusal(machine_id="0" * 32).endswith("machine_id: must not be all zeros")


def test_two_guests_of_one_machine_id():
    guests = [{"name": name, "machine_id": "0123456789abcdef" * 2} for name in ("web", "db")]
    with pytest.raises(InvalidSpecError, match=r"^host1: machine_id: web and db have the same"):
        Guests.of({"guests": guests}, "host1")
    assert Guests.of({"guests": [guests[0], {**guests[1], "state": "absent"}]}, "host1")
    assert Guests.of({"guests": [guests[0], {"name": "a"}, {"name": "b"}]}, "host1")


def test_a_number_that_python_would_not_read():
    """Of more than 4300 digits it makes no number: the words would be its own."""
    digits = "9" * 5000
    assert refusal(limits={"memory_max": digits}).endswith("must be at most 16777215T")
    assert refusal(limits={"cpu_quota": f"{digits}%"}).endswith("must be 1% to 21474836%")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *(
            (value, "must be like 512M, 20G or 1T")
            for value in ("", "20", "5%", "infinity", "064M", "1.5G", "1K")
        ),
        *((value, "must be 64M to 1048576T") for value in ("63M", "1048577T", "9" * 99 + "T")),
    ],
)
def test_a_quota_that_no_file_system_takes(value: str, words: str):
    assert refusal(limits={"disk_max": value}) == f"inventory of host1: limits.disk_max: {words}"


@pytest.mark.parametrize(("value", "kib"), [("64M", 65536), ("20G", 20 * 2**20), ("1048576T", 2**50)])
def test_a_quota_that_file_systems_take(value: str, kib: int):
    assert accepted(limits={"disk_max": value}).limits.disk_kib == kib


@pytest.mark.parametrize("fields", [{"isolation": "overlay"}, {"isolation": "none"}, {"k3s": True}])
def test_real_root_has_no_quota(fields: dict[str, object]):
    found = refusal(limits={"disk_max": "1G"}, **fields)
    assert "limits: disk_max: needs isolation 'private-users'" in found


def test_two_guests_have_no_quota_together():
    """`plumless` and `buckeroo` have one CRC-32."""
    limited = [{"name": name, "limits": {"disk_max": "1G"}} for name in ("plumless", "buckeroo")]
    with pytest.raises(InvalidSpecError, match="plumless and buckeroo would have one quota; rename one"):
        Guests.of({"guests": limited}, "host1")
    assert Guests.of({"guests": [limited[0], {**limited[1], "state": "absent"}]}, "host1")
