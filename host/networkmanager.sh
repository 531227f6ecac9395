# shellcheck shell=sh
# A change of the network (network.sh) where NetworkManager is the manager. Its checkpoint stands beside our own timer: it dies with
# NetworkManager, and the timer does not.

NM=org.freedesktop.NetworkManager

checkpoint() { # METHOD ARGUMENT...
    timeout 10 busctl --quiet call "$NM" /org/freedesktop/NetworkManager "$NM" "$@"
}

# nm_apply SECONDS: with a checkpoint that is rolled back somewhat later than ours. The flags: delete new connections (2),
# disconnect new devices (4).
nm_apply() {
    timeout 10 busctl call "$NM" /org/freedesktop/NetworkManager "$NM" CheckpointCreate aouu 0 $(($1 + 15)) 6 |
        sed -n 's/^o "\(.*\)"$/\1/p' >"$tried/checkpoint"
    for _name in $(named run); do
        nm_or_die connection load "$tried_files/$_name"
    done
    for _uuid in $(named up); do
        nm_or_die --wait 0 connection up uuid "$_uuid"
    done
}

nm_or_die() {
    problem=$(timeout 10 nmcli "$@" 2>&1) || {
        echo "NetworkManager: ${problem:-no answer}" | head -n 1 >"$tried/problem"
        return 1
    }
}

nm_restore() {
    systemctl is-active --quiet NetworkManager.service || timeout 60 systemctl restart NetworkManager.service
    [ ! -s "$tried/checkpoint" ] || checkpoint CheckpointRollback o "$(cat "$tried/checkpoint")" >/dev/null 2>&1
    timeout 10 nmcli connection reload
    restored 5 || for _uuid in $(named former); do
        timeout 10 nmcli --wait 0 connection up uuid "$_uuid"
    done
}

# nm_forget_checkpoint: it may have gone with NetworkManager.
nm_forget_checkpoint() {
    [ ! -s "$tried/checkpoint" ] || checkpoint CheckpointDestroy o "$(cat "$tried/checkpoint")" 2>/dev/null || :
}
