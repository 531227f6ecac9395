# shellcheck shell=sh
# The host's OSTree sysroot and those of its guests. Prints: status (or status-json), stateroots,
# refs, free; for the host's also remotes and, where there is one, rpm-ostree (or rpm-ostree-json).

# Where a tool knows no `--json` (ostree before 2025.3) the option is an error, and its text is read.
status() { # HEADER NAME COMMAND...
    header=$1 name=$2
    shift 2
    if json=$("$@" --json 2>/dev/null); then
        part "$header-json $name" printf '%s\n' "$json"
    else
        part "$header $name" "$@"
    fi
}

# refs/heads and refs/remotes hold a file a ref: one process instead of a rev-parse for each of them.
refs() {
    (cd "$1/refs" && grep -RH . heads remotes)
    [ $? -le 1 ] # 1: no line matched, there is no ref
}

sysroot() { # NAME PATH ADMIN-OPTION...
    name=$1 path=$2
    shift 2
    status status "$name" ostree admin status "$@"
    part "stateroots $name" ls "$path/ostree/deploy"
    part "refs $name" refs "$path/ostree/repo"
    part "free $name" df -Pk "$path"
}

if have ostree; then
    # The host's sysroot is named by no option: `--sysroot=/sysroot` misleads ostree on a booted host
    # (https://github.com/ostreedev/ostree/issues/2992).
    sysroot / /sysroot
    part "remotes /" ostree remote list -u
    have rpm-ostree && status rpm-ostree / rpm-ostree status
    for config in /var/lib/pyinfra-nspawn/*/ostree/repo/config; do
        [ -e "$config" ] || continue
        path=${config%/ostree/repo/config}
        sysroot "${path##*/}" "$path" --sysroot="$path"
    done
else
    part "status /" echo "there is no ostree command"
    part "missing /" false
fi
echo ":: done"
