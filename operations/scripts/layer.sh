# shellcheck shell=sh
rpm-ostree install --idempotent systemd-container
die "systemd-container is layered but not booted: reboot, then run again"
