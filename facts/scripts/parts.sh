# shellcheck shell=sh
# How a fact answers: see facts/base.py. LC_ALL=C keeps every tool's words the parser's words.
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=

# part HEADER COMMAND...: the header, the command's output with a mark before each line, its exit code.
part() {
    printf ':: %s\n' "$1"
    shift
    part_output=$("$@" 2>&1)
    part_code=$?
    [ -z "$part_output" ] || printf '%s\n' "$part_output" | sed 's/^/|/'
    printf ':= %s\n' "$part_code"
}

# value HEADER TEXT: a part whose one line is known already; it starts no process.
value() {
    printf ':: %s\n|%s\n:= 0\n' "$1" "$2"
}

have() {
    command -v "$1" >/dev/null 2>&1
}
