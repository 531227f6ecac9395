# shellcheck shell=sh
# stateroot NAME: a private sysroot with one stateroot, whole or not at all.
make_sysroot "$1"
