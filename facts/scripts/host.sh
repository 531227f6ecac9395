# shellcheck shell=sh
# What kind of host this is. Prints one part a value; see facts/host.py.

exists() { # HEADER PATH
    if [ -e "$2" ]; then value "$1" yes; else value "$1" no; fi
}

commands() {
    for name in flock machinectl ostree rpm-ostree systemd-nspawn unshare; do
        have "$name" && printf '%s\n' "$name"
    done
    true
}

first_line() {
    "$@" | head -n 1
}

# Not `read`: dash reads byte by byte, and files of /proc/sys end after the first read.
setting() { # HEADER FILE
    part "$1" cat "$2"
}

# The options of the last mount at /sysroot; none where /sysroot is no mount.
sysroot_options() {
    while read -r _ _ _ _ where options _; do
        [ "$where" = /sysroot ] && found=$options
    done </proc/self/mountinfo
    echo "${found-}"
}

# Which may be a file system of its own.
state_file_system() {
    path=/var/lib/pyinfra-nspawn
    [ -e "$path" ] || path=/var/lib
    stat -fc %T "$path"
    df -Pk "$path" | tail -n 1
}

value user "$(id -u)"
exists ostree-booted /run/ostree-booted
value kernel "$(uname -r)"
part commands commands
have systemctl && part systemd first_line systemctl --version
have ostree && part ostree ostree --version
value cgroup "$(stat -fc %T /sys/fs/cgroup)"
value sysroot-options "$(sysroot_options)"
part state-file-system state_file_system
setting user-namespaces /proc/sys/user/max_user_namespaces
setting inotify-instances /proc/sys/fs/inotify/max_user_instances
if [ -e /etc/sysctl.d/60-pyinfra-nspawn.conf ]; then
    part sysctl-file cat /etc/sysctl.d/60-pyinfra-nspawn.conf
fi
if [ -e /sys/fs/selinux/enforce ]; then setting selinux-enforce /sys/fs/selinux/enforce; fi
if [ -e /etc/selinux/config ]; then
    part selinux-config sed -n 's/^SELINUX=//p' /etc/selinux/config
fi
have systemctl && part machines-target systemctl show machines.target -p LoadState -p UnitFileState
echo ":: done"
