# shellcheck shell=sh
# stateroot-shared NAME: a stateroot in the host's own sysroot.
make_stateroot "$1"
