# shellcheck shell=sh
# What was changed on this host: the entries of record.sh, as journalctl prints them; see facts/history.py.

facts_history() { # LIMIT
    if is_root; then part history history_entries "$1"; else part history no_root; fi
}

# Any user of the host may write with that identifier; journald adds who did. As JSON, journalctl does not say that there is
# no journal at all: then nothing is known.
history_entries() { # LIMIT
    _entries=$(journal_json "$1" _UID=0 SYSLOG_IDENTIFIER="$IDENTIFIER") || return
    if [ -n "$_entries" ]; then
        printf '%s\n' "$_entries"
    elif [ -z "$(journal_json 1)" ]; then
        echo "this host keeps no journal" >&2
        return 1
    fi
}

journal_json() { # LIMIT MATCH...
    _lines=$1
    shift
    timeout "$tool_seconds" journalctl --no-pager --output=json --lines="$_lines" \
        --output-fields=PYINFRA_NSPAWN_VERB,PYINFRA_NSPAWN_GUEST,PYINFRA_NSPAWN_RESULT \
        --output-fields=PYINFRA_NSPAWN_BY,PYINFRA_NSPAWN_LOGIN,PYINFRA_NSPAWN_VERSION "$@"
}
