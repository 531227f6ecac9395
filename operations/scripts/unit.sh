# shellcheck shell=sh
# unit NAME ENABLEMENT ACTION SECONDS DIGEST ON_DEGRADED: `enable` or `disable`, then `start`, `restart`,
# `await` or `stop`; either may be empty. A guest that was started is awaited until it says `running`, or
# `degraded`, which is told with ON_DEGRADED `report` and else a failure.
name=$1 enablement=$2 action=$3 seconds=$4 digest=$5 on_degraded=$6
unit=systemd-nspawn@$name.service

failed() {
    # The guest's console is in there: no control sequence of a guest may reach a terminal.
    journalctl --unit="$unit" --lines=15 --output=cat --no-pager | tr -cd '\11\12\40-\176' >&2 || :
    die "guest $name: $1; look at \`journalctl -u $unit\` on the host, mend it, and run again"
}

await() {
    # One that is on its way up, by itself or since a start was killed, has no bus yet to ask: this joins its start.
    systemctl start "$unit" || failed "it did not start (waited for up to $seconds s)"
    answer=$(timeout "$seconds" systemctl -M "$name" is-system-running --wait 2>&1) || :
    case $answer in
    running) ;;
    degraded)
        units=$(systemctl -M "$name" list-units --failed --plain --no-legend | sed 's/ .*//' | tr '\n' ' ')
        degraded="guest $name is degraded: ${units}failed"
        [ "$on_degraded" = report ] ||
            die "$degraded; look at \`systemctl -M $name status $units\` on the host, mend it there, and run again"
        printf 'note: %s\n' "$degraded"
        ;;
    *) failed "it says '${answer:-nothing}' and not 'running' (waited for up to $seconds s)" ;;
    esac
}

# Whether the guest runs what it is to run: another run may have seen to it while this one waited for the lock.
up_to_date() {
    pid=$(systemctl show --value -p MainPID "$unit")
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "PYINFRA_NSPAWN_DEFINITION=$digest" || return
    leader=$(machinectl show --value -p Leader "$name") || return
    deployment=$(readlink "$state/$name/current")
    grep -qF "/${deployment##*/}/etc /etc " "/proc/$leader/mountinfo"
}

[ -z "$enablement" ] || systemctl "$enablement" "$unit"
[ "$action" != restart ] || ! up_to_date 2>/dev/null || action=await
case $action in
start | restart)
    # A guest that failed too often in a row is not started again until that is forgotten.
    systemctl reset-failed "$unit" 2>/dev/null || :
    [ "$action" = start ] || systemctl stop "$unit"
    await
    ;;
await) await ;;
stop) systemctl stop "$unit" ;;
esac
