# shellcheck shell=sh
# Makes $state the path of our directory in the mount that holds the host's objects: a hard link
# cannot cross mounts (link(2), EXDEV), and /var is one of its own. Where it is another file system, or
# holds one, there is no such path, and ostree copies.
place=$state
[ -e "$place" ] || place=${state%/*}
for var in /sysroot/ostree/deploy/*/var; do
    # shellcheck disable=SC3013 # not POSIX, but every sh in use has -ef
    if [ "$var${place#/var}" -ef "$place" ]; then
        # Read-only on most hosts; we are in a mount namespace of our own.
        [ -w "$var" ] || mount -o remount,bind,rw /sysroot
        state=$var${state#/var}
    fi
done
