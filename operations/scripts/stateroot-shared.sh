# shellcheck shell=sh
# stateroot-shared NAME: a stateroot in the host's own sysroot.
make_stateroot "$1"
mkdir -p "/sysroot/ostree/deploy/$1/var" # a killed os-init has made none
