# shellcheck shell=sh
# sysroots [NAME]: that guest's OSTree sysroot, or the host's and those of its guests. Prints: status (or status-json), stateroots,
# refs, free; for the host's also remotes, fallback and, where there is one, rpm-ostree (or rpm-ostree-json).

# json=--json where ostree knows it (2025.3 and later); before that it is an error, and the text is read.
status() { # NAME ADMIN-OPTION...
    name=$1
    shift
    # shellcheck disable=SC2086 # an empty $json is no argument
    part "status${json#-} $name" ostree admin status "$@" $json
}

remotes() {
    cat /ostree/repo/config /etc/ostree/remotes.d/*.conf 2>/dev/null | sed -n '/^\[remote "/p; s/^url *= */url=/p'
}

# refs/heads and refs/remotes hold a file a ref: one process instead of a rev-parse for each of them.
refs() {
    (cd "$1/refs" && grep -RH . heads remotes)
    [ $? -le 1 ] # 1: no line matched, there is no ref
}

# What boots another deployment when one does not come up: it takes the second entry, whosever it is.
fallback() {
    ! systemctl is-enabled --quiet greenboot-healthcheck.service 2>/dev/null || echo greenboot
    for path in /boot/grub2/grubenv /boot/grub/grubenv /boot/efi/EFI/*/grubenv; do
        ! grep -qs '^boot_counter=' "$path" || echo "boot_counter (in $path)"
    done
}

sysroot() { # NAME PATH ADMIN-OPTION...
    name=$1 path=$2
    shift 2
    status "$name" "$@"
    part "stateroots $name" ls "$path/ostree/deploy"
    part "refs $name" refs "$path/ostree/repo"
    part "free $name" df -Pk "$path"
}

# The text is what the oldest ones have.
rpm_ostree() {
    if text=$(rpm-ostree status --json 2>/dev/null); then
        part "rpm-ostree-json /" printf '%s\n' "$text"
    else
        part "rpm-ostree /" rpm-ostree status
    fi
}

need_root
if have ostree; then
    if ostree admin status --json >/dev/null 2>&1; then json=--json; else json=; fi
    if [ -z "${1-}" ]; then
        # The host's sysroot is named by no option: `--sysroot=/sysroot` misleads ostree on a booted host
        # (https://github.com/ostreedev/ostree/issues/2992).
        sysroot / /sysroot
        part "remotes /" remotes
        part "fallback /" fallback
        have rpm-ostree && rpm_ostree
    fi
    for config in /var/lib/pyinfra-nspawn/${1:-*}/ostree/repo/config; do
        [ -e "$config" ] || continue
        path=${config%/ostree/repo/config}
        sysroot "${path##*/}" "$path" --sysroot="$path"
    done
else
    part "status /" echo "there is no ostree command"
    part "missing /" false
fi
echo ":: done"
