"""The lab's second body: the same OSTree commit as a virtual machine. See ../README.md.

>>> from tests.lab.vm.lab import up
>>> from tests.lab.vm.machine import machines
>>> up()
>>> machines()["vm1"].succeed("ostree admin status")
"""
