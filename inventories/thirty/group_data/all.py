"""Data of every host: how it is reached, and what all guests have in common."""

from pyinfra_nspawn.connectors.ssh import FAST_SSH

# pyinfra takes each name of this file for a key of the data, but for those that are imported.
ssh_paramiko_connect_kwargs = FAST_SSH["ssh_paramiko_connect_kwargs"]
ssh_user = "core"
_sudo = True

guest_defaults = {
    "source": "fedora:fedora/stable/x86_64/iot",
    "limits": {"memory_max": "1G", "tasks_max": 2048},
    "mask_units": ["systemd-networkd-wait-online.service"],
}
