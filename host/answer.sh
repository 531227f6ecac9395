# shellcheck shell=sh
# Send an answer: parts of ASCII lines, each with a header, which facts/base.py reads. Short printable output of the
# host's own commands is sent unencoded. Everything else is base64: one byte that is not UTF-8 would end the controller's
# reader, and a control sequence would reach the administrator's terminal.
# Open while a mode runs: 3 the answer, 4 what the controller sent, 7 the controller's stderr.

# How a part of the program ends that has reported its trouble.
REPORTED=97

# How much of a command's output is worth an answer: the host's own, and what a guest has a say in.
CAP=262144
GUEST_CAP=65536

# Longer than that, base64 is cheaper than a line at a time.
PLAIN=4000

NEWLINE='
'
TAB='	'

# value HEADER TEXT: one line that is known to be printable ASCII. It starts no process.
value() {
    printf ':: %s\n|%s\n' "$1" "$2"
}

# part HEADER COMMAND...: the command's stdout and exit code, and its stderr when there is any.
part() {
    _header=$1
    shift
    {
        _stderr=$({
            _stdout=$(
                "$@" 2>&5 5>&- 6>&-
                printf '\n%s' "$?"
            )
            if [ "${#_stdout}" -gt "$CAP" ]; then
                printf ':: %s\n+\n' "$_header"
            else
                captured "$_header" "$_stdout"
            fi >&6
        } 5>&1)
    } 6>&1
    [ -z "$_stderr" ] || printf '!%s\n' "$(printf '%s' "$_stderr" | tail -c 2000 | base64 -w 0)"
}

# brief HEADER COMMAND...: of a command that says nothing on stderr that would help. It may speak of hundreds of guests,
# and is not capped.
brief() {
    _header=$1
    shift
    _stdout=$(
        "$@" 2>/dev/null
        printf '\n%s' "$?"
    )
    captured "$_header" "$_stdout"
}

# captured HEADER OUTPUT: send a command's output, whose last line is the exit code. Whole lines of printable ASCII are sent
# unencoded, with a tab after each, everything else in base64: each line of an answer costs the controller's reader as much as
# the parsing of ten. The exit code comes last: truncated output has none.
captured() {
    printf ':: %s\n' "$1"
    _said=${2%"$NEWLINE"*}
    _code=${2##*"$NEWLINE"}
    if [ "${#2}" -le "$PLAIN" ] && are_lines "$_said" && [ -n "$_code" ]; then
        _line=
        while [ -n "$_said" ]; do
            _line="$_line${_said%%"$NEWLINE"*}$TAB"
            _said=${_said#*"$NEWLINE"}
        done
        printf '>%s%s\n' "$_line" "$_code"
    else
        printf '+%s\n' "$(encoded "$2")"
    fi
}

are_lines() { # TEXT
    case $1 in *[!\ -~"$NEWLINE"]*) return 1 ;; "" | *"$NEWLINE") ;; *) return 1 ;; esac
}

# as_word TEXT: sets word to it, as one word of a header.
as_word() {
    case $1 in
    *[!A-Za-z0-9@%_./+:-]*) word=$(encoded "$1") ;;
    *) word="=$1" ;;
    esac
}

# guest_part HEADER COMMAND...: of a command whose output a guest has a say in: capped, always base64. Its stderr is not
# kept apart: that would be three more processes, for each guest of a host.
guest_part() {
    printf ':: %s\n+' "$1"
    shift
    {
        "$@" 2>&1
        printf '\n%s' "$?" 2>/dev/null
    } | head -c "$GUEST_CAP" | base64 -w 0
    printf '\n'
}

# said HEADER TEXT: a part of any text.
said() {
    captured "$1" "${2:+$2$NEWLINE}${NEWLINE}0"
}

# encoded TEXT: as one word.
encoded() {
    printf '%s' "$1" | base64 -w 0
}

# printable: stdin without control sequences, which a guest's console may hold.
printable() {
    tr -cd '\11\12\40-\176'
}

# note TEXT: what the administrator should know although the step succeeds.
note() {
    said "note $guest" "$1" >&3
}

# trouble PROBLEM HINT: why the present step failed, to the controller and to people.
trouble() {
    record failed # first: the connection may be lost
    said "trouble $verb $guest" "$1
$2" >&3
    printf '%s %s\n' "$1" "$2" | tr '\n' ' ' | printable >&7
    echo >&7
}

# die PROBLEM HINT: nothing more is done.
die() {
    trouble "$1" "$2"
    exit "$REPORTED"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# beside FUNCTION WORD...: calls FUNCTION for each of the words, all at once, and prints what each says whole, in
# their order. Each has said all itself before it passes on what the others say: none waits for another.
beside() {
    _function=$1
    shift
    _chain $# "$@"
}

_chain() { # COUNT WORD...
    _count=$1
    shift
    [ "$_count" != 0 ] || return 0
    _chain $((_count - 1)) "$@" | {
        shift $((_count - 1))
        _own=$("$_function" "$1")
        cat
        printf '%s\n' "$_own"
    }
}
