"""Checks of a fleet as it is: `pytest tests/verify --inventory inventories/mine.py`.

They change nothing, and share no code with the deploys but the specs: hosts are reached with OpenSSH
through testinfra, and looked at with the tools that an administrator would use.
"""
