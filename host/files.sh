# shellcheck shell=sh
# Files and links: written beside and then renamed, so that a reader, or a run that is killed, finds the old or the new.

# The line by which a file is known as ours.
MANAGED='# Managed by pyinfra-nspawn'

# Of what is kept on the host. Another one, once a program cannot do with what this one leaves.
STATE_VERSION=1

exists() { # PATH
    [ -e "$1" ] || [ -L "$1" ]
}

is_ours() { # PATH
    grep -qsxF "$MANAGED" "$1"
}

# received BYTES: of what the controller sent. The stdin of one that was killed ends early.
received() {
    _sent=$(
        head -c "$1" <&4
        echo .
    )
    [ "${#_sent}" = $(($1 + 1)) ] || die "the controller was cut off before it had sent everything" "Run again."
    printf '%s' "${_sent%.}"
}

# install_file MODE PATH: what is on stdin.
install_file() {
    _new=${2%/*}/.${2##*/}.new
    (
        umask 077
        cat >"$_new"
    )
    chown 0:0 "$_new"
    chmod "$1" "$_new"
    mv -fT "$_new" "$2"
}

# has_file MODE PATH BASE64: whether it is there like this.
has_file() {
    [ -f "$2" ] && [ ! -L "$2" ] || return
    [ "$(stat -c '%a %u:%g' "$2")" = "$1 0:0" ] && [ "$(base64 -w 0 "$2")" = "$3" ]
}

# link TARGET PATH: in one step; a link in the place of another is made beside it.
link() {
    _beside=$2
    ! exists "$2" || _beside=${2%/*}/.${2##*/}.new
    ln -sfn "$1" "$_beside"
    [ "$_beside" = "$2" ] || mv -fT "$_beside" "$2"
}

# own_directory NAME: what is kept of a guest. A guest's root can leave a setuid-root file in its /var: no user of the
# host may come by it.
own_directory() {
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0700 "$state"
    [ "$(state_version)" = "$STATE_VERSION" ] || echo "$STATE_VERSION" | install_file 644 "$state/.version"
    [ -d "$state/$1" ] || mkdir -m 0700 "$state/$1"
    chown 0:0 "$state/$1"
    chmod 0700 "$state/$1"
}

# state_version: 0 where nothing is kept, or what was kept before there were versions.
state_version() {
    _version=$(head -c 9 "$state/.version" 2>/dev/null || :)
    case $_version in "" | *[!0-9]*) echo 0 ;; *) echo "$_version" ;; esac
}
