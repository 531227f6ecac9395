"""Make a host fit for guests: `pyinfra INVENTORY deploys/host.py`."""

from pyinfra.api.deploy import deploy

from pyinfra_nspawn.deploys._inventory import guests_of_host, settings_of_host
from pyinfra_nspawn.deploys._script import is_script
from pyinfra_nspawn.operations import host


@deploy("Host")
def fit_for_guests() -> None:
    """Check the host, and give it what guests need: systemd-container, machines.target, limits."""
    settings, guests = settings_of_host(), guests_of_host()
    host.preflight(name="Preflight", settings=settings, guests=guests, layering=True)
    host.container_package(name="systemd-container", settings=settings)
    host.machines_target(name="machines.target")
    host.inotify(name="Inotify limits", guests=guests)
    host.selinux(name="SELinux", settings=settings)


if is_script(__file__):
    fit_for_guests()
