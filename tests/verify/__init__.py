"""Checks of a fleet as it is: `pytest --pyargs pyinfra_nspawn.verify --nspawn-inventory inventories/mine.py`.

They change nothing, and share with the deploys only the specs and the list of settings that a guest's wall
rests on: hosts are reached with OpenSSH through testinfra, and looked at with an administrator's tools.
"""
