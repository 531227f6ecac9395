"""OSTree guests in systemd-nspawn, with pyinfra.

The rooms beside this file are links to the folders at the top of the repository, so that a clone runs,
type-checks and is navigated without being installed. Wheel and sdist hold the files themselves.
"""

__version__ = "0.1.0"
