"""A guest's resource limits: only values that systemd and Linux take.

systemd ignores any other with a warning, and sets no limit.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pyinfra_nspawn.specs.base import Spec

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MOST_MEMORY = 16777215  # T; systemd keeps bytes in 64 bits, of which the last value is `infinity`
_MOST_DISK = 1048576  # T; ext4 holds no more
_MOST_CPU = 21474836  # %; systemd keeps hundredths of it in 31 bits
_MOST_TASKS = 4194304  # PID_MAX_LIMIT; the kernel refuses more with EINVAL
_DIGITS = 24  # so many digits are too much already, and few enough for int()


def _memory(text: str) -> str:
    if text == "infinity":
        return text
    match = re.fullmatch(r"(0|[1-9][0-9]*)([KMGT%]?)", text, re.ASCII)
    if not match:
        raise ValueError("must be like 512M, 2G or 50%, or 'infinity'")
    amount, unit = int(match[1][:_DIGITS]), match[2]
    if unit == "%":
        if not 1 <= amount <= 100:  # noqa: PLR2004
            raise ValueError("a percentage must be 1% to 100%")
        return text
    if amount * _UNITS[unit] < _UNITS["M"]:
        raise ValueError("must be at least 1M")
    if amount * _UNITS[unit] > _MOST_MEMORY * _UNITS["T"]:
        raise ValueError(f"must be at most {_MOST_MEMORY}T")
    return text


def _disk(text: str) -> str:
    match = re.fullmatch(r"([1-9][0-9]*)([MGT])", text, re.ASCII)
    if not match:
        raise ValueError("must be like 512M, 20G or 1T")
    size = int(match[1][:_DIGITS]) * _UNITS[match[2]]
    if not 64 * _UNITS["M"] <= size <= _MOST_DISK * _UNITS["T"]:
        raise ValueError(f"must be 64M to {_MOST_DISK}T")
    return text


def _cpu(text: str) -> str:
    match = re.fullmatch(r"(0|[1-9][0-9]*)%", text, re.ASCII)
    if not match:
        raise ValueError("must be like 150%")
    if not 1 <= int(match[1][:_DIGITS]) <= _MOST_CPU:
        raise ValueError(f"must be 1% to {_MOST_CPU}%")
    return text


def _tasks(value: object) -> object:
    """Check a number before pydantic tries the types of a union, each with an error of its own."""
    number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_TASKS
    if not (value is None or number or value == "infinity"):
        raise ValueError(f"must be a number from 1 to {_MOST_TASKS}, or 'infinity'")
    return value


class Limits(Spec):
    """Resource limits of the guest's unit (systemd.resource-control(5)); None sets no limit.

    + memory_max: bytes, from 1M, with K, M, G or T; 1% to 100% of the host's; or `infinity`
    + cpu_quota: percentage of one CPU's time, from 1%: `150%` is one and a half CPUs
    + tasks_max: processes and threads, 1 to 4194304, or `infinity`; the unit template says 16384
    + io_weight: the guest's share of the disks beside others, 1 to 10000; 100 is every unit's default. A disk
      heeds it if its scheduler knows weights (bfq), or if io.cost is set up for it
    + disk_max: bytes of its /var and /etc together, from 64M, with M, G or T, and an inode for each 16 KiB: a
      project quota, which the file system must have (`prjquota` of ext4 and xfs). Its root must have a user
      namespace: real root may exceed a quota (capabilities(7), CAP_SYS_RESOURCE)
    """

    memory_max: Annotated[str, AfterValidator(_memory)] | None = None
    cpu_quota: Annotated[str, AfterValidator(_cpu)] | None = None
    tasks_max: Annotated[int | str | None, BeforeValidator(_tasks)] = None
    io_weight: Annotated[int, Field(ge=1, le=10000)] | None = None
    disk_max: Annotated[str, AfterValidator(_disk)] | None = None

    @property
    def disk_kib(self) -> int:
        """`disk_max` in KiB; 0 for no limit."""
        return int(self.disk_max[:-1]) * _UNITS[self.disk_max[-1]] // 2**10 if self.disk_max else 0
