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

# undeploy KIND NAME: all deployments of the guest; the indices shift after each.
undeploy() {
    while index=$(entries "$1" "$2" | grep -n "^$2 " | tail -n 1) && [ -n "$index" ]; do
        in_sysroot "$1" "$2" undeploy "$((${index%%:*} - 1))"
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

# claim NAME: the stateroot of that name in the host's sysroot is ours from now on. A guest's root can leave a
# setuid-root file in its /var: no user of the host may come by it.
claim() {
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0700 "$state"
    mkdir -p "$state/$1"
    chmod 0700 "$state/$1"
    link "$1" stateroot "/sysroot/ostree/deploy/$1"
}

# make_stateroot NAME: in the host's sysroot. The link that says whose it is comes before it.
make_stateroot() {
    root=/sysroot/ostree/deploy/$1
    if [ ! -L "$state/$1/stateroot" ]; then
        [ ! -e "$root" ] || die "guest $1: there is a stateroot $1 in the host's /ostree that is not ours; run again"
        claim "$1"
    fi
    [ -e "$root" ] || ostree admin os-init "$1"
    chmod 0700 "$root"
}

# space NAME COMMIT: a stateroot has its kernel and initramfs in /boot; hard links, where that is no file system
# of its own.
space() {
    [ "$(stat -c %d /boot)" != "$(stat -c %d /sysroot/ostree)" ] || return 0
    kernel=$(ostree ls -R "$2" /usr/lib/modules | grep -E '/(vmlinuz|initramfs[^/]*)$')
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

first() {
    printf '%s\n' "$1" | sed 1q
}

# deploy_shared NAME COMMIT: unless there is a deployment of it. What the host boots, and in which order it would
# try the others, must be as before.
deploy_shared() {
    before=$(entries shared "$1")
    ! printf '%s\n' "$before" | grep -qF "$1 $2." || return 0
    space "$1" "$2"
    ostree admin deploy --os="$1" --not-as-default --retain --karg-none "$2"
    default=$(first "$before")
    after=$(entries shared "$1")
    if [ "$(first "$after")" != "$default" ]; then
        printf 'note: the host would have booted %s: its default is set back to %s\n' "$(first "$after")" "$default"
        index=$(printf '%s\n' "$after" | grep -nxF "$default")
        ostree admin set-default "$((${index%%:*} - 1))"
        after=$(entries shared "$1")
        [ "$(first "$after")" = "$default" ] ||
            die "the host boots $(first "$after") next: run \`ostree admin set-default\` for $default on the host"
    fi
    [ "$(printf '%s\n' "$after" | grep -vF "$1 $2.")" = "$before" ] ||
        printf 'note: the order of the host'\''s boot entries has changed; it was %s\n' \
            "$(printf '%s' "$before" | tr '\n' ',')"
}
