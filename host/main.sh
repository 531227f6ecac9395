# shellcheck shell=sh
# The dispatcher. The controller appends one line to the program, `main WORD...`.

# main [--by USER@CONTROLLER] [--version VERSION] [--login USER] [--ask SECONDS] [--roots DIRECTORY] MODE WORD...
# MODE is facts, change, node, await, rescue, archive, archive-bytes, archive-digest, pulled, or what runs apart: trial, trial-end, backup,
# backup-end, network-trial or network-revert. What changes or fails is recorded as done by --by, with that version of the
# package (record.sh). --ask (how long a guest or a tool of the host may take to answer) and --roots are for tests. None of
# them is a variable of the environment: a stray one must not redirect what root removes.
main() {
    state=/var/lib/pyinfra-nspawn sysroot=/sysroot etc=/etc run=/run boot=/boot roots=''
    ask_seconds=10 tool_seconds=20 by='' version='' login=''
    while [ $# -ge 2 ]; do
        case $1 in
        --by) by=$2 ;;
        --version) version=$2 ;;
        --login) login=$2 ;;
        --ask) ask_seconds=$2 tool_seconds=$2 ;;
        --roots) roots=$2 state=$2/state sysroot=$2/sysroot etc=$2/etc run=$2/run boot=$2/boot ;;
        *) break ;;
        esac
        shift 2
    done
    # The parsers know these words. Some logins and `sudo` leave the sbin directories out.
    export LC_ALL=C TZ=UTC SYSTEMD_COLORS=0 SYSTEMD_PAGER='' PATH="$PATH:/usr/sbin:/sbin"
    unset OSTREE_SYSROOT OSTREE_REPO status_help _state
    umask 022
    set -u
    exec 3>&1 4<&0 7>&2 </dev/null
    mode=$1 verb=$1 guest=-
    shift
    [ -z "$by" ] || learn_login
    case $mode in
    facts) facts "$@" ;;
    change) change "$@" ;;
    node) node "$@" ;;
    await) await_all "$@" ;;
    rescue) rescue "$@" ;;
    archive) archive_facts "$@" ;;
    archive-bytes) archive_bytes "$@" ;;
    archive-digest) archive_digest "$@" ;;
    pulled) pulled ;;
    trial) trial "$@" ;;
    trial-end) trial_end "$@" ;;
    backup) backup_run "$@" ;;
    backup-end) backup_end "$@" ;;
    network-trial) network_trial "$@" ;;
    network-revert) network_revert "$@" ;;
    *) die "the program knows no $mode" "Use one version of pyinfra-nspawn." ;;
    esac
}

# count WORD...: how many there are before the first `--`.
count() {
    _count=0
    for _word; do
        [ "$_word" != -- ] || break
        _count=$((_count + 1))
    done
    echo "$_count"
}

# only COUNT FUNCTION WORD...: calls FUNCTION with the first COUNT of the words.
only() {
    _count=$1 _call=$2
    shift 2
    _all=$#
    for _word; do
        [ "$_count" != 0 ] || break
        _count=$((_count - 1))
        set -- "$@" "$_word"
    done
    shift "$_all"
    "$_call" "$@"
}

# facts PART [ARGUMENT...] [-- PART [ARGUMENT...]]...: exits 0 whatever it finds.
facts() {
    settle_down
    while [ $# != 0 ]; do
        _count=$(count "$@")
        (only "$_count" fact "$@")
        [ "$_count" -lt $# ] || break
        shift $((_count + 1))
    done
    echo ":: done"
}

fact() { # PART [ARGUMENT...]
    _part=$1
    shift
    case $_part in
    host) facts_host ;;
    network) facts_network ;;
    sysroots) facts_sysroots "$@" ;;
    sysroot) sysroots_of "$@" ;;
    guests) facts_guests "$@" ;;
    guest) guests_of "$@" ;;
    usage) facts_usage "$@" ;;
    history) facts_history "$@" ;;
    *) part "$_part" unknown_part ;;
    esac
}

unknown_part() {
    echo "the program knows no such part" >&2
    return 1
}

# change SCOPE... -- STEP... [-- STEP...]...: the steps in order, under the lock; none after one that fails. However it
# ends, it answers with the facts of the scopes: host, network, sysroot, guest:NAME.
change() {
    _count=$(count "$@")
    scope=$(only "$_count" echo "$@")
    output=
    set -e
    trap 'answer $?' EXIT
    verb=lock
    lock
    refuse_newer_state
    case " $scope " in *" sysroot "*) learn_status ;; esac
    while [ "$_count" -lt $# ]; do
        shift $((_count + 1))
        _count=$(count "$@")
        verb=$1 guest=${2:--}
        # A plain command: within `if` or `||` a verb would go on after what fails in it.
        output=$(only "$_count" step "$@" 2>&1)
    done
}

# node VERB NAME [ARGUMENT...]: run one step without the lock. A request to a cluster may take minutes, and changes no host.
node() {
    verb=$1 guest=$2 scope='' output=
    set -e
    trap 'answer $?' EXIT
    output=$(step "$@" 2>&1)
}

refuse_newer_state() {
    [ "$(state_version)" -le "$STATE_VERSION" ] ||
        die "this host was set up by a newer pyinfra-nspawn" "Use that version, or a later one."
}

# step VERB NAME [ARGUMENT...]: does it and says whether it changed anything.
step() {
    set -eu
    result=nothing
    shift
    case $verb in
    adopt) adopt "$@" ;;
    backup) backup "$@" ;;
    current) current "$@" ;;
    decommission) decommission ;;
    definition) definition "$@" ;;
    deploy) deploy "$@" ;;
    disk-limit) disk_limit "$@" ;;
    guest-links) guest_links "$@" ;;
    k3s-answers) k3s_answers "$@" ;;
    k3s-await) k3s_await "$@" ;;
    k3s-cordoned) k3s_cordoned "$@" ;;
    k3s-delete-node) k3s_delete_node "$@" ;;
    k3s-drain) k3s_drain "$@" ;;
    k3s-founds) k3s_founds "$@" ;;
    k3s-hold) k3s_hold "$@" ;;
    k3s-host) k3s_host "$@" ;;
    k3s-leave) k3s_leave "$@" ;;
    k3s-left) k3s_left "$@" ;;
    k3s-place) k3s_place "$@" ;;
    k3s-start) k3s_start "$@" ;;
    k3s-uncordon) k3s_uncordon "$@" ;;
    k3s-unplace) k3s_unplace "$@" ;;
    layer) layer ;;
    machines-target) machines_target ;;
    move) move "$@" ;;
    network) network "$@" ;;
    network-keep) network_keep "$@" ;;
    network-recover) network_recover ;;
    prune) prune "$@" ;;
    pull) pull "$@" ;;
    recover) recover "$@" ;;
    remotes) remotes "$@" ;;
    remove) remove "$@" ;;
    restart) restart "$@" ;;
    restore) restore "$@" ;;
    restore-begin) restore_begin "$@" ;;
    rollback) rollback "$@" ;;
    selinux) selinux "$@" ;;
    stateroot) stateroot "$@" ;;
    store-append) store_append "$@" ;;
    store-fetch) store_fetch "$@" ;;
    store-prune) store_prune "$@" ;;
    sysctl) sysctl_file "$@" ;;
    try) try "$@" ;;
    unit) unit "$@" ;;
    upgrade) upgrade "$@" ;;
    *) die "the program knows no $verb" "Use one version of pyinfra-nspawn." ;;
    esac
    [ "$result" != changed ] || record changed
    value "step $verb $guest" "$result" >&3
}

# answer CODE: the end of a change. What a step printed before it failed is its trouble, unless it said so itself.
answer() {
    trap - EXIT
    set +e
    if [ "$1" != 0 ] && [ "$1" != "$REPORTED" ]; then
        _problem=$(printf '%s\n' "$output" | sed '/^$/d' | tail -n 1)
        # Ended by a signal: what it printed last is not why.
        [ "$1" -lt 128 ] || _problem=
        : "${_problem:=step $verb was cut off (exit code $1)}"
        trouble "$_problem" "$(hint "$_problem")"
    fi
    _guests=
    for _scope in $scope; do
        case $_scope in guest:*) _guests="$_guests ${_scope#guest:}" ;; esac
    done
    case " $scope " in *" host "*) (fact host) ;; esac
    case " $scope " in *" network "*) (fact network) ;; esac
    # shellcheck disable=SC2086 # names have no spaces
    case " $scope " in
    *" sysroot "*) (fact sysroot / $_guests) ;;
    *) [ -z "$_guests" ] || (fact sysroot $_guests) ;;
    esac
    # shellcheck disable=SC2086
    [ -z "$_guests" ] || (fact guest $_guests)
    echo ":: done"
    [ "$1" = 0 ] || exit 1
}

# hint PROBLEM: what to do about it. A command that fails on a full disk does not say so itself, and what it had begun to
# write may be gone again.
hint() {
    _used=$(df -P "$state" 2>/dev/null | sed -n '$s/.* \([0-9]*\)% .*/\1/p')
    if [ "${_used:-0}" -ge 95 ]; then
        echo "The file system of $state is full ($_used% used): free some of it, then run again."
        return
    fi
    case $1 in
    *signature* | *GPG*) echo "Sign the commit with a key of the remote's: see \`remotes\` of \`nspawn_host\`." ;;
    *min-free-space*) echo "Free some of it, or keep fewer deployments: see \`keep\` and \`pinned\`." ;;
    *"No space left on device"*) echo "A file system is full ($state: $_used% used): free some of it, then run again." ;;
    *) echo "Fix this on the host, then run again." ;;
    esac
}
