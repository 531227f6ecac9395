"""Thirty hosts in two groups; what they run is in `group_data`, in one place for all.

pyinfra-nspawn check inventories/thirty/fleet.py
"""

shops = [f"shop{number:02}.example.org" for number in range(1, 21)]
depots = [f"depot{number:02}.example.org" for number in range(1, 11)]
