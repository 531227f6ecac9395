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

have() {
    command -v "$1" >/dev/null 2>&1
}
