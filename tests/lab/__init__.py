"""A lab of real OSTree hosts on one machine. See README.md.

>>> from tests import lab
>>> lab.up()
>>> lab.hosts()["lab1"].succeed("ostree admin status")
"""

from tests.lab.host import Host, hosts, usual_hosts
from tests.lab.lab import down, up
from tests.lab.paths import SSH_CONFIG
from tests.lab.shell import LabError, retry

__all__ = ["SSH_CONFIG", "Host", "LabError", "down", "hosts", "retry", "up", "usual_hosts"]
