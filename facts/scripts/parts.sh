# shellcheck shell=sh
# How a fact answers: see facts/base.py. LC_ALL=C keeps every tool's words the parser's words.
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=

# part HEADER COMMAND...: the header, the command's output with a mark before each line, its exit code.
# The line that sed leaves unmarked is the last one, which is ours whatever the command prints.
part() {
    printf ':: %s\n' "$1"
    shift
    {
        "$@" 2>&1
        printf '\n:= %s\n' $?
    } | sed '$!s/^/|/'
}

# value HEADER TEXT: a part whose one line is known already; it starts no process.
value() {
    printf ':: %s\n|%s\n:= 0\n' "$1" "$2"
}

no_root() {
    echo "this takes root: set _sudo to True in the inventory"
    return 1
}

# Without root a directory that cannot be entered looks like one that is not there.
need_root() {
    [ "$(id -u)" = 0 ] && return
    part "host /" no_root
    echo ":: done"
    exit 0
}

have() {
    command -v "$1" >/dev/null 2>&1
}
