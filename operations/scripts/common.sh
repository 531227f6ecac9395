# shellcheck shell=sh
# What every changing script begins with. One changes a host at a time: a killed controller's command
# lives on, and what it did is looked at again only once it has ended.
set -eu
umask 022
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=
state=/var/lib/pyinfra-nspawn

die() {
    trap - EXIT
    printf '%s\n' "$*" >&2
    exit 1
}

# A command that fails on a full disk does not say what to do about it.
ended() {
    code=$?
    used=$([ "$code" = 0 ] || df -P "$state" 2>/dev/null | sed -n '$s/.* \([0-9]*\)% .*/\1/p')
    [ "${used:-0}" -lt 95 ] ||
        printf '%s\n' "the file system of $state is full ($used% used): free some of it, then run again" >&2
    exit "$code"
}
trap ended EXIT

# What the controller sent, whole: the stdin of one that was killed ends early.
received() {
    sent=$(cat)
    case $sent in
    "$END" | *"
$END") printf '%s' "${sent%"$END"}" ;;
    *) die "the controller was cut off before it had sent everything: run again" ;;
    esac
}
END='# end of what was sent'

exec 9>/run/pyinfra-nspawn.lock
flock -w 900 9 || die "another run has held /run/pyinfra-nspawn.lock for 15 minutes: end it, then run again"
