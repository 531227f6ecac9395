"""What a host gets for guests in which k3s runs: modules of the kernel, and sysctls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.foreign import is_managed
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import Step, file_diffs, file_line
from pyinfra_nspawn.specs.k3s import AT_LEAST, MODULES, MODULES_FILE, SYSCTLS, SYSCTLS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.plans.host import HostComparison


def k3s_host(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Load what k3s needs of the kernel and set its sysctls, now and for the next boot.

    They remain until the host is decommissioned, and in force until it boots again.
    """
    host = comparison.host
    if not any(guest.k3s and guest.state != "absent" for guest in comparison.guests):
        return
    present = _present(host)
    values = {**SYSCTLS, **_raised(host, present.get(SYSCTLS_FILE, ""))}
    files = {
        MODULES_FILE: render("lines.conf.j2", lines=MODULES),
        SYSCTLS_FILE: render("lines.conf.j2", lines=[f"{name} = {value}" for name, value in values.items()]),
    }
    findings = [*_not_ours(present), *_unmet(host), *_files_differ(present, files)]
    yield from findings
    if not findings or any(finding.severity == "error" for finding in findings):
        return
    yield Step(
        "load the modules and set the sysctls that k3s needs, now and at boot",
        "k3s-host",
        payload="\n".join(file_line("644", path, content) for path, content in files.items()),
        diffs=file_diffs(present, files),
    )


def _raised(host: Host, before: str) -> dict[str, int]:
    """Return the minimums that the host is below, or that our file has raised it to.

    Leave a larger value alone: an administrator chose it. Skip sysctls that do not exist yet; the kernel's
    default may be high enough.
    """
    found = {}
    for name, least in AT_LEAST.items():
        value = number(host.sysctls.get(name, ""))
        raised = f"\n{name} = " in before
        if raised if value is None else value < least or (raised and value == least):
            found[name] = least
    return found


def number(text: str) -> int | None:
    """Return a sysctl's value as a number; None where it is not one."""
    return int(text) if text.isascii() and text.isdigit() else None


def k3s_files(host: Host) -> dict[str, str]:
    """Return the content of our files for k3s on a host, by path."""
    return {path: content for path, content in _present(host).items() if is_managed(content)}


def _present(host: Host) -> dict[str, str]:
    found = {MODULES_FILE: host.k3s_modules_file, SYSCTLS_FILE: host.k3s_sysctls_file}
    return {path: content for path, content in found.items() if content is not None}


def _not_ours(present: dict[str, str]) -> Iterator[Finding]:
    for path, content in present.items():
        if not is_managed(content):
            hint = "Move it away, then run again."
            yield Finding("foreign", f"{path} is not ours", hint, field=path, severity="error")


def _unmet(host: Host) -> Iterator[Finding]:
    for name in MODULES:
        if name not in host.modules:
            yield Finding("missing", f"module {name} is not loaded", field=f"modules.{name}", wanted=name)
    for name, wanted in SYSCTLS.items():
        seen = host.sysctls.get(name, "")
        if seen != wanted:
            problem = f"sysctl {name} is {seen}" if seen else f"there is no sysctl {name} yet"
            yield Finding("differs", problem, field=f"sysctls.{name}", wanted=wanted, seen=seen)
    for name, least in AT_LEAST.items():
        value = number(host.sysctls.get(name, ""))
        if value is not None and value < least:
            problem = f"sysctl {name} is {value}, below the minimum {least}"
            yield Finding("differs", problem, field=f"sysctls.{name}", wanted=str(least), seen=str(value))


def _files_differ(present: dict[str, str], files: dict[str, str]) -> Iterator[Finding]:
    for path, content in files.items():
        if path not in present:
            yield Finding("missing", f"{path} does not exist", field=path, wanted=path)
        elif is_managed(present[path]) and present[path] != content:
            yield Finding("differs", f"{path} differs", field=path, wanted=path)
