# shellcheck shell=sh
systemctl enable machines.target
