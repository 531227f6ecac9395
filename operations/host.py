"""Operations that prepare a host for guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.operations._converge import converge_host
from pyinfra_nspawn.plans import host as plans
from pyinfra_nspawn.plans.preflight import preflight as preflight_plan
from pyinfra_nspawn.plans.remotes import remotes as remotes_plan
from pyinfra_nspawn.specs import HostSettings

if TYPE_CHECKING:
    from pyinfra_nspawn.operations._converge import Commands
    from pyinfra_nspawn.specs import Guest


@operation()
def fit_for_guests(settings: HostSettings, guests: tuple[Guest, ...]) -> Commands:
    """Check a host and give it what guests need; all steps are one command.

    + settings: the inventory's `nspawn_host`
    + guests: all guests that the host is to have

    Does what `container_package`, `machines_target`, `inotify`, `remotes` and `selinux` do, after
    `preflight`, gives guests with `k3s` their modules and sysctls, and has NetworkManager serve the links of
    guests. A host whose `state` is `absent` is left as it is: `nspawn.each_guest` gives it up.

    **Example:**

    .. code:: python

        host.fit_for_guests(name="Host", settings=HostSettings(), guests=())
    """
    if settings.state == "absent":
        yield from converge_host(settings, guests, (), "the host is given up with its guests")
    else:
        yield from converge_host(settings, guests, plans.CONCERNS, "the host is fit for guests")


@operation()
def preflight(settings: HostSettings, guests: tuple[Guest, ...]) -> Commands:
    """Check every precondition of a host, and refuse it with a list of what is unmet.

    + settings: the inventory's `nspawn_host`
    + guests: all guests that the host is to have

    Changes nothing. Each unmet precondition is reported with a hint; the host then fails.

    **Example:**

    .. code:: python

        host.preflight(name="Preflight", settings=HostSettings(), guests=())
    """
    yield from converge_host(settings, guests, (preflight_plan,), "every precondition is met")


@operation()
def container_package(settings: HostSettings) -> Commands:
    """Install systemd-container by layering it with rpm-ostree, where the inventory asks for it.

    + settings: the inventory's `nspawn_host`

    After layering, and until the new deployment is booted, the host fails with a hint to reboot.

    **Example:**

    .. code:: python

        host.container_package(name="systemd-container", settings=HostSettings(layer_packages=True))
    """
    yield from converge_host(settings, (), (plans.container_package,), "systemd-container is installed")


@operation()
def machines_target() -> Commands:
    """Enable machines.target, so that enabled guests start with the host.

    pyinfra's own `systemd.service` takes a target for stopped, and would start it in every run.

    **Example:**

    .. code:: python

        host.machines_target(name="machines.target")
    """
    settings = HostSettings()
    yield from converge_host(settings, (), (plans.machines_target,), "machines.target is enabled")


@operation()
def inotify(guests: tuple[Guest, ...]) -> Commands:
    """Raise the limit of inotify instances to 128 + 16 a guest, now and at boot.

    + guests: all guests that the host is to have

    Never lowers the limit. The value for the next boot is in /etc/sysctl.d/60-pyinfra-nspawn.conf.

    **Example:**

    .. code:: python

        host.inotify(name="Inotify limits", guests=(Guest(name="web"),))
    """
    settings = HostSettings()
    yield from converge_host(settings, guests, (plans.inotify,), "the limit is high enough")


@operation()
def remotes(settings: HostSettings) -> Commands:
    """Declare the remotes of `settings` in the host's OSTree repository, with the keys of their commits.

    + settings: the inventory's `nspawn_host`

    Each is a file in /etc/ostree/remotes.d (ostree.repo-config(5)). Remotes of ours that `settings` does not
    name are removed; all others stay, and refuse one of the same name.

    **Example:**

    .. code:: python

        host.remotes(name="Remotes", settings=HostSettings())
    """
    yield from converge_host(settings, (), (remotes_plan,), "the remotes are as desired")


@operation()
def selinux(settings: HostSettings) -> Commands:
    """Set SELinux's mode, now and across reboots; without `selinux` in `settings` leave it.

    + settings: the inventory's `nspawn_host`

    A note says what an enforcing host has denied to its guests, see docs/howto/selinux.md.

    **Example:**

    .. code:: python

        host.selinux(name="SELinux", settings=HostSettings(selinux="permissive"))
    """
    yield from converge_host(settings, (), (plans.selinux,), "SELinux has the desired mode")
