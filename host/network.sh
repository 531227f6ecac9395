# shellcheck shell=sh
# A changed network of the host: tried in /run, and kept only once the controller has reached the host through it. Units of
# their own do it, which outlive the connection. A timer, a crash, a power cut and a reboot all end in the old network.
#
# $tried holds the change: its payload, and one of `pending`, `kept` and `reverting`. Whoever renames `pending` decides:
# rename(2) succeeds once. `checked` says that the network works as before, as far as the host can see.
# The payload consists of lines of words:
#   manager NAME MODE     networkd or NetworkManager, and the mode of its files
#   run NAME BASE64       a file in the manager's directory in /run, to try
#   copy NAME PATH        the same, with the content of a file of the host
#   up UUID               a profile of NetworkManager's, to try
#   former UUID           one that was active before
#   etc PATH BASE64       a file, once the change is kept; `-` in the place of base64 removes it
#   aside PATH            a foreign file, moved aside then
#   made LINK             a link that goes when the change is reverted
#   gone LINK             a link that goes when it is kept
#   address LINK          a link that must come to have an address
#   answer ADDRESS        a DNS server: one that answered before must answer again

TIMER=pyinfra-nspawn-network-revert
TRIAL=pyinfra-nspawn-network-trial
RECONFIGURE_SECONDS=10
RESTORE_SECONDS=45

network_paths() {
    tried=$run/pyinfra-nspawn/network network_verdict=$run/pyinfra-nspawn/network-verdict
    tried_files=$run/systemd/network manager=networkd tried_mode=644
    [ -e "$tried/payload" ] || return 0
    read -r _ manager tried_mode <"$tried/payload"
    [ "$manager" != NetworkManager ] || tried_files=$run/NetworkManager/system-connections
}

is_network_tried() {
    systemctl is-active --quiet "$TIMER.timer" "$TIMER.service" "$TRIAL.service"
}

# network - SECONDS DIGEST PROGRAM-BYTES BYTES: arms the timer, and has the change tried once this command has answered.
network() {
    network_paths
    program=$(received "$4")
    sent=$(received "$5")
    network_recover
    [ ! -d "$tried" ] || die "another change of the network is being tried" "Wait a minute, then run again."
    result=changed
    rm -f "$network_verdict"
    (
        umask 077
        mkdir -p "$tried"
    )
    printf '%s\n' "$sent" | install_file 600 "$tried/payload"
    network_paths
    # shellcheck disable=SC2016 # for the shell that reads it
    printf '%s\nmain "$@"\n' "$program" | install_file 700 "$tried/program"
    global_addresses >"$tried/addresses"
    for _family in 4 6; do
        ip "-$_family" route show | grep ' via ' | sed "s/^/$_family /" || :
    done >"$tried/routes"
    guest_ports >"$tried/ports"
    gateways_that_answer >"$tried/gateways"
    servers_that_answer >"$tried/servers"
    echo "$3" >"$tried/pending"
    network_unit "$TIMER" "Restore the network of this host" --on-active="$2" --timer-property=AccuracySec=100ms -- \
        network-revert "the controller did not reach the host within $2 s"
    network_unit "$TRIAL" "Try a changed network" -- network-trial "$2" $$
}

# network_unit NAME DESCRIPTION OPTION... -- WORD...: a mode of the program, in a unit of its own.
network_unit() {
    _name=$1 _description=$2
    shift 2
    _options=''
    while [ "$1" != -- ]; do
        _options="$_options $1"
        shift
    done
    shift
    systemctl reset-failed "$_name.service" 2>/dev/null || :
    # shellcheck disable=SC2086 # options without spaces
    systemd-run --quiet --collect --no-block --unit="$_name" --description="$_description" $_options \
        sh "$tried/program" ${roots:+--roots "$roots"} ${by:+--by "$by" --version "$version" --login "$login"} "$@"
}

# network_trial SECONDS PID: applies the change and watches it until the network works as before. PID armed it, and still has to
# answer over a connection that this may cut.
network_trial() {
    set -e
    guest=- verb=network result=changed
    network_paths
    now
    _until=$((now + $1))
    while [ -d "/proc/$2" ] && [ "$now" -lt "$_until" ]; do
        sleep 0.1
        now
    done
    sleep 0.3 # for the last packets of its answer
    lock
    [ -e "$tried/pending" ] || exit 0
    trap 'network_revert "the change could not be applied"' EXIT
    install_tried
    if [ "$manager" = NetworkManager ]; then nm_apply "$1"; else reload_networkd; fi
    unlock
    trap - EXIT
    until attach_guest_ports <"$tried/ports" && network_works; do
        echo "$problem" | install_file 600 "$tried/problem" # at once: the revert may read it now
        now
        [ "$now" -lt "$_until" ] || network_revert "$problem"
        [ -e "$tried/pending" ] || exit 0
        sleep 0.2
    done
    : >"$tried/checked"
}

install_tried() {
    mkdir -p "$tried_files"
    while read -r _word _name _content; do
        case $_word in
        run) printf '%s' "$_content" | base64 -d | install_file "$tried_mode" "$tried_files/$_name" ;;
        copy) install_file "$tried_mode" "$tried_files/$_name" <"$_content" ;;
        esac
    done <"$tried/payload"
}

remove_tried() {
    for _name in $(named run) $(named copy); do
        rm -f "$tried_files/$_name" "$tried_files/.$_name.new"
    done
}

# reload_networkd: one that does not run, or does not answer, is started again.
reload_networkd() {
    if ! systemctl is-active --quiet systemd-networkd.service || ! timeout 5 networkctl reload; then
        timeout 60 systemctl restart systemd-networkd.service
    fi
}

# named WORD: what the payload names after that word.
named() {
    sed -n "s/^$1 \([^ ]*\).*/\1/p" "$tried/payload"
}

delete_links() { # WORD
    for _link in $(named "$1"); do
        [ ! -e "/sys/class/net/$_link" ] || timeout 10 ip link delete "$_link" || :
    done
}

# network_works: whether the host has what it had before; sets problem to what it lacks.
network_works() {
    has_addresses || return
    while read -r _family _gateway; do
        problem="the default route was lost (IPv$_family)"
        _now=$(gateway "$_family")
        [ -n "$_now" ] || return
        problem="the gateway ${_now%% *} does not answer"
        # shellcheck disable=SC2086 # an address and a link
        has_neighbour $_now || return
    done <"$tried/gateways"
    problem="no DNS server answers any more"
    [ ! -s "$tried/servers" ] || [ -n "$(servers_that_answer)" ]
}

has_addresses() {
    for _link in $(named address); do
        problem="$_link got no address"
        ip -o address show dev "$_link" scope global 2>/dev/null | grep -q . || return
    done
}

# global_addresses: a line each, less those of guests' links.
global_addresses() {
    ip -o address show scope global | sed -n 's/^[0-9]*: \([^ ]*\) *inet6* \([^ ]*\) .*/\1 \2/p' | grep -v '^v[ebz]-' | sort
}

# gateways_that_answer: FAMILY ADDRESS of the default routes whose router answers.
gateways_that_answer() {
    for _family in 4 6; do
        _now=$(gateway "$_family")
        # shellcheck disable=SC2086 # an address and a link
        [ -z "$_now" ] || ! has_neighbour $_now || printf '%s %s\n' "$_family" "${_now%% *}"
    done
}

# gateway FAMILY: ADDRESS LINK of the best default route; nothing without one.
gateway() {
    ip -o "-$1" route show default | sed -n 's/^default via \(inet6* \)\{0,1\}\([^ ]*\) dev \([^ ]*\) .*/\2 \3/p' | head -n 1
}

# has_neighbour ADDRESS LINK: whether it answers on the link itself (ARP, or neighbour discovery), which no firewall of it
# forbids. A packet to it has the kernel ask.
has_neighbour() {
    # What was learnt some time ago proves nothing. What is configured stays.
    ip neighbour flush to "$1" dev "$2" 2>/dev/null || :
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        _state=$(ip neighbour show "$1" dev "$2" 2>/dev/null)
        case $_state in
        *REACHABLE* | *STALE* | *DELAY* | *PERMANENT* | *NOARP*) return 0 ;;
        esac
        poke "$1" "$2"
        sleep 0.2
    done
    return 1
}

poke() { # ADDRESS LINK
    case $1 in fe80:*) _to=$1%$2 ;; *) _to=$1 ;; esac
    # shellcheck disable=SC2016 # for bash, whose /dev/udp this is
    timeout 1 bash -c 'printf x >"/dev/udp/$0/9"' "$_to" 2>/dev/null || timeout 1 ping -c 1 -W 1 "$_to" >/dev/null 2>&1 || :
}

# servers_that_answer: those DNS servers of the change that do.
servers_that_answer() {
    for _server in $(named answer); do
        ! dns_answers "$_server" || echo "$_server"
    done
}

# dns_answers ADDRESS: a question for the root's name servers, over UDP.
dns_answers() {
    # shellcheck disable=SC2016 # for bash, whose /dev/udp this is
    timeout 2 bash -c 'exec 3<>"/dev/udp/$0/53" &&
        printf "\1\2\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1" >&3 && head -c 2 <&3' "$1" 2>/dev/null | grep -q .
}

# network_revert PROBLEM: restores the old network, unless the new one was confirmed. It waits for no other run.
network_revert() {
    trap - EXIT
    set +e
    guest=- verb=network result=changed problem=''
    network_paths
    mv "$tried/pending" "$tried/reverting" 2>/dev/null || [ -e "$tried/reverting" ] || exit 0
    exec 9>"$run/pyinfra-nspawn.lock"
    flock -w 5 9
    # What the host lacks is why nobody reached it. A slow host may not have found out yet.
    if [ ! -e "$tried/checked" ]; then
        if [ -s "$tried/problem" ]; then read -r problem <"$tried/problem"; else has_addresses && problem=''; fi
    fi
    restore_network
    printf '%s\n' "${problem:-$1}" >"$network_verdict"
    record failed "restored the old network"
    rm -rf "$tried"
    systemctl stop "$TIMER.timer" "$TRIAL.service" 2>/dev/null
    exit 0
}

restore_network() {
    remove_tried
    delete_links made
    if [ "$manager" = NetworkManager ]; then nm_restore; else reload_networkd; fi
    restored "$RECONFIGURE_SECONDS" || take_addresses
    attach_guest_ports <"$tried/ports"
}

# guest_ports: a path for each guest link that is a port of a bridge. NetworkManager takes unmanaged ports off a bridge that it
# activates (seen with 1.52).
guest_ports() {
    for _port in /sys/class/net/*/brif/vb-*; do
        [ ! -e "$_port" ] || printf '%s\n' "$_port"
    done
}

# attach_guest_ports: those whose paths are on stdin, where they are not. A guest may have gone meanwhile.
attach_guest_ports() {
    while read -r _port; do
        _bridge=${_port#/sys/class/net/}
        [ -e "$_port" ] || ip link set "${_port##*/}" master "${_bridge%%/*}" 2>/dev/null || :
    done
}

# take_addresses: as they were, where the manager cannot have them back: its DHCP server may be gone. It keeps them until it has
# others.
take_addresses() {
    while read -r _link _address; do
        ip address add "$_address" brd + dev "$_link" 2>/dev/null || ip address add "$_address" dev "$_link" 2>/dev/null
    done <"$tried/addresses"
    while read -r _family _route; do
        # shellcheck disable=SC2086 # words of a route
        ip "-$_family" route add $_route 2>/dev/null
    done <"$tried/routes"
}

restored() { # SECONDS
    now
    _end=$((now + $1))
    until attach_guest_ports <"$tried/ports" && [ "$(global_addresses)" = "$(cat "$tried/addresses")" ]; do
        now
        [ "$now" -lt "$_end" ] || return
        sleep 0.2
    done
}

# network_keep - DIGEST SECONDS: keep the change of that digest, which the controller has reached the host through. Waits so
# long for `checked`, and keeps nothing then: that connection may be older than the change. Fails when the host has restored its
# network.
network_keep() {
    network_paths
    if [ ! -e "$tried/checked" ]; then
        await_checked "$3"
        return
    fi
    [ "$(cat "$tried/pending" 2>/dev/null)" = "$2" ] || network_was_restored
    mv "$tried/pending" "$tried/kept" 2>/dev/null || network_was_restored
    systemctl stop "$TIMER.timer" 2>/dev/null || :
    result=changed
    keep_network
}

await_checked() { # SECONDS
    now
    _until=$((now + $1))
    until [ -e "$tried/checked" ]; do
        [ -e "$tried/pending" ] || network_was_restored
        now
        [ "$now" -lt "$_until" ] || return 0
        let_others_in
    done
}

let_others_in() {
    unlock
    sleep 0.1
    lock_again
}

network_was_restored() {
    now
    _until=$((now + RESTORE_SECONDS))
    while [ -e "$tried/reverting" ] && [ "$now" -lt "$_until" ]; do # what failed is said at its end
        let_others_in
        now
    done
    _why=$(head -n 1 "$network_verdict" 2>/dev/null || :)
    die "the host restored its network: ${_why:-it did not keep the new one}" "Correct the inventory, or the network, then run again."
}

# keep_network: in this order, so that a power cut on the way leaves an uplink that works.
keep_network() {
    [ "$manager" != NetworkManager ] || nm_forget_checkpoint
    while read -r _word _path _content; do
        case $_word in
        etc) keep_network_file "$_path" "$_content" ;;
        aside) [ ! -e "$_path" ] || mv -f "$_path" "$_path.before-pyinfra-nspawn" ;;
        esac
    done <"$tried/payload"
    remove_tried
    [ "$manager" != NetworkManager ] || timeout 10 nmcli connection reload
    delete_links gone
    [ "$manager" != networkd ] || reload_networkd
    rm -rf "$tried"
}

keep_network_file() { # PATH BASE64
    mkdir -p "${1%/*}"
    if [ "$2" = - ]; then
        rm -f "$1"
    else
        printf '%s' "$2" | base64 -d | install_file "$tried_mode" "$1"
        sync "$1"
    fi
    sync "${1%/*}"
}

# network_recover -: finish or undo what was killed on the way: nothing is at work upon it any more.
network_recover() {
    network_paths
    [ -d "$tried" ] && ! is_network_tried || return 0
    result=changed
    if [ -e "$tried/kept" ]; then
        keep_network
    else
        # A checkpoint may be gone and an address back: whatever fails of this, the rest is tried.
        [ ! -s "$tried/payload" ] || (
            set +e
            restore_network
            true
        )
        rm -rf "$tried"
    fi
}
