# shellcheck shell=sh
# stateroot-shared NAME: a stateroot in the host's own sysroot, with the /var that `ostree admin os-init` gives it.
name=$1
root=/sysroot/ostree/deploy/$name

make_stateroot "$name"
if [ ! -e "$root/var" ]; then
    rmdir "$root"
    ostree admin os-init "$name"
    chmod 0700 "$root"
fi
