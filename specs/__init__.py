"""What is wanted: frozen models that validate an inventory's data. No pyinfra, no I/O."""

from pyinfra_nspawn.specs.artifact import Artifact
from pyinfra_nspawn.specs.bind import Bind
from pyinfra_nspawn.specs.checks import Checks
from pyinfra_nspawn.specs.file import File
from pyinfra_nspawn.specs.guest import Guest, Guests, Named
from pyinfra_nspawn.specs.host import HostSettings
from pyinfra_nspawn.specs.k3s import K3s
from pyinfra_nspawn.specs.limits import Limits
from pyinfra_nspawn.specs.network import Bridge, GuestNetwork
from pyinfra_nspawn.specs.remote import Remote
from pyinfra_nspawn.specs.source import Source

__all__ = [
    "Artifact",
    "Bind",
    "Bridge",
    "Checks",
    "File",
    "Guest",
    "GuestNetwork",
    "Guests",
    "HostSettings",
    "K3s",
    "Limits",
    "Named",
    "Remote",
    "Source",
]
