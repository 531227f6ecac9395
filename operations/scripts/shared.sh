# shellcheck shell=sh
# For what works upon the host's own sysroot, where guests are beside the host.

# in_sysroot private|shared NAME COMMAND...: `ostree admin` in the guest's sysroot, or in the host's.
in_sysroot() {
    if [ "$1" = private ]; then
        own=$state/$2
        shift 2
        ostree admin --sysroot="$own" "$@"
    else
        shift 2
        ostree admin "$@"
    fi
}

# entries KIND NAME: each deployment of that sysroot, in ostree's order: STATEROOT CHECKSUM.SERIAL.
entries() {
    in_sysroot "$1" "$2" status | sed -n 's/^[* ] \([^ ][^ ]* [0-9a-f]*\.[0-9]*\).*/\1/p'
}

# of NAME [COMMIT]: the guest's own among the entries on stdin, each with its index. Names are compared whole: another's
# may end or begin like this one's, and a dot is no pattern.
of() {
    index=0
    while read -r stateroot deployment; do
        case $stateroot/$deployment in "$1/${2-}"*) echo "$index $deployment" ;; esac
        index=$((index + 1))
    done
}

# undeploy KIND NAME: all deployments of the guest; the indices shift after each.
undeploy() {
    while last=$(entries "$1" "$2" | of "$2" | tail -n 1) && [ -n "$last" ]; do
        in_sysroot "$1" "$2" undeploy "${last%% *}"
    done
    in_sysroot "$1" "$2" cleanup
    [ "$1" = private ] || remove_kernels "$2"
}

# remove_kernels NAME: ostree keeps those of a stateroot without deployments as long as another stateroot has the same
# (its cleanup goes by the checksum alone).
remove_kernels() {
    [ -w /boot ] || mount -o remount,bind,rw /boot
    for kernel in "/boot/ostree/$1"-*; do
        checksum=${kernel##*-}
        [ "$kernel" != "/boot/ostree/$1-$checksum" ] || [ "${#checksum}" != 64 ] || rm -rf "$kernel"
    done
}

# link NAME LINK TARGET: in one step.
link() {
    ln -sfn "$3" "$state/$1/.$2.new"
    mv -T "$state/$1/.$2.new" "$state/$1/$2"
}

# claim NAME: the stateroot of that name in the host's sysroot is ours from now on.
claim() {
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0700 "$state"
    mkdir -p "$state/$1"
    chmod 0700 "$state/$1"
    [ -L "$state/$1/stateroot" ] || ln -s "/sysroot/ostree/deploy/$1" "$state/$1/stateroot"
}

# make_stateroot NAME: in the host's sysroot, without a /var. The link that says whose it is comes before it. A guest's
# root can leave a setuid-root file in its /var: no user of the host may come by it.
make_stateroot() {
    root=/sysroot/ostree/deploy/$1
    [ -L "$state/$1/stateroot" ] || [ ! -e "$root" ] ||
        die "guest $1: there is a stateroot $1 in the host's /ostree that is not ours; run again"
    claim "$1"
    mkdir -p "$root"
    chmod 0700 "$root"
}

# space NAME COMMIT: a stateroot has its kernel and initramfs in /boot; hard links, where that is no file system
# of its own.
space() {
    [ "$(stat -c %d /boot)" != "$(stat -c %d /sysroot/ostree)" ] || return 0
    kernel=$(ostree ls -R "$2" /usr/lib/modules | grep -E '/(vmlinuz|initramfs[^/]*)$') ||
        die "guest $1: its commit has no kernel in /usr/lib/modules: set \`sysroot\` to 'private'"
    needed=$(
        kib=1024
        # What `ostree ls` says of a file: MODE UID GID BYTES PATH.
        while read -r _ _ _ bytes _; do kib=$((kib + bytes / 1024)); done <<KERNEL
$kernel
KERNEL
        echo "$kib"
    )
    free=$(df -Pk /boot | sed -n '$s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p')
    [ "$free" -gt "$needed" ] ||
        die "guest $1: its kernel takes $((needed / 1024)) MiB of /boot, which has $((free / 1024)) left:" \
            "free some, or set \`sysroot\` to 'private'"
}

# default: what the host boots, the first of the entries on stdin.
default() {
    sed 1q
}

# older NAME COMMIT: the entries on stdin, less the guest's of that commit.
older() {
    while read -r stateroot deployment; do
        case $stateroot/$deployment in "$1/$2."*) ;; *) echo "$stateroot $deployment" ;; esac
    done
}

# deploy_shared NAME COMMIT: unless there is a deployment of it. What the host boots, and in which order it would
# try the others, must be as before.
deploy_shared() {
    before=$(entries shared "$1")
    [ -z "$(printf '%s\n' "$before" | of "$1" "$2.")" ] || return 0
    space "$1" "$2"
    ostree admin deploy --os="$1" --not-as-default --retain --karg-none "$2"
    wanted=$(printf '%s\n' "$before" | default)
    after=$(entries shared "$1")
    found=$(printf '%s\n' "$after" | default)
    if [ "$found" != "$wanted" ]; then
        printf 'note: the host would have booted %s: its default is set back to %s\n' "$found" "$wanted"
        index=$(printf '%s\n' "$after" | of "${wanted% *}" "${wanted#* }")
        ostree admin set-default "${index%% *}"
        after=$(entries shared "$1")
        found=$(printf '%s\n' "$after" | default)
        [ "$found" = "$wanted" ] ||
            die "the host boots $found next: run \`ostree admin set-default\` for $wanted on the host"
    fi
    [ "$(printf '%s\n' "$after" | older "$1" "$2")" = "$before" ] ||
        printf 'note: the order of the host'\''s boot entries has changed; it was %s\n' \
            "$(printf '%s' "$before" | tr '\n' ',')"
}
