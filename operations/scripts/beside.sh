# shellcheck shell=sh
# For what works upon the host's objects, in a mount namespace of its own. Makes /sysroot writable there: it is
# read-only on most hosts. Makes $state the path of our directory in the mount that holds the objects: a
# hard link cannot cross mounts (link(2), EXDEV), and /var is one of its own. Where it is another file system,
# or holds one, there is no such path, and ostree copies.
[ -w /sysroot ] || mount -o remount,bind,rw /sysroot
place=$state
[ -e "$place" ] || place=${state%/*}
for var in /sysroot/ostree/deploy/*/var; do
    # shellcheck disable=SC3013 # not POSIX, but every sh in use has -ef
    # Only the host's own: in that of a guest, a link of its root could lead anywhere.
    if [ "$var" -ef /var ] && [ "$var${place#/var}" -ef "$place" ]; then
        state=$var${state#/var}
        break
    fi
done

# make_sysroot NAME [without-var]: a private sysroot with one stateroot. Its repository's config, which tells that it
# is there, comes last.
make_sysroot() {
    own=$state/$1
    new=$own/.sysroot.new
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0700 "$state"
    if [ -e "$own/ostree/repo/config" ]; then
        mkdir -p "$own/ostree/deploy/$1" # of a move that was killed on its way out of it
        return
    fi
    mkdir -p "$own"
    chmod 0700 "$own"
    rm -rf "$new" "${own:?}/boot"
    mkdir -m 0700 "$new"
    ostree admin init-fs --modern "$new"
    ostree admin --sysroot="$new" os-init "$1"
    [ -z "${2-}" ] || rm -rf "$new/ostree/deploy/$1/var"
    mv -T "$new/boot" "$own/boot"
    mv -T "$new/ostree" "$own/ostree"
    rmdir "$new"
}
