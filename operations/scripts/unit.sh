# shellcheck shell=sh
# unit NAME ENABLEMENT ACTION SECONDS: `enable` or `disable`, then `start`, `restart`, `await` or `stop`;
# either may be empty. A guest that was started is awaited until it says `running` or `degraded`.
name=$1 enablement=$2 action=$3 seconds=$4
unit=systemd-nspawn@$name.service

failed() {
    # The guest's console is in there: no control sequence of a guest may reach a terminal.
    journalctl --unit="$unit" --lines=15 --output=cat --no-pager | tr -cd '\11\12\40-\176' >&2 || :
    die "guest $name: $1; look at \`journalctl -u $unit\` on the host, mend it, and run again"
}

await() {
    answer=$(timeout "$seconds" systemctl -M "$name" is-system-running --wait 2>&1) || :
    case $answer in
    running) ;;
    degraded)
        units=$(systemctl -M "$name" list-units --failed --plain --no-legend | sed 's/ .*//' | tr '\n' ' ')
        printf 'note: guest %s is degraded: %sfailed\n' "$name" "$units"
        ;;
    *) failed "it says '${answer:-nothing}' and not 'running' (waited for up to $seconds s)" ;;
    esac
}

[ -z "$enablement" ] || systemctl "$enablement" "$unit"
case $action in
start | restart)
    # A guest that failed too often in a row is not started again until that is forgotten.
    systemctl reset-failed "$unit" 2>/dev/null || :
    systemctl "$action" "$unit" || failed "it did not start (waited for up to $seconds s)"
    await
    ;;
await) await ;;
stop) systemctl stop "$unit" ;;
esac
