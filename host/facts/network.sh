# shellcheck shell=sh
# Links, addresses, default routes, and the files of the manager that configures them; see facts/network.py.

NM_LINK=GENERAL.DEVICE,GENERAL.STATE,GENERAL.CON-UUID,IP4.DNS,IP6.DNS

BRIDGE_FILTER=/proc/sys/net/bridge/bridge-nf-call-iptables
FIREWALLD=org.fedoraproject.FirewallD1

facts_network() {
    have ip || return 0
    part links ip -j -d address
    part routes network_routes
    ! have networkctl || brief networkd timeout "$tool_seconds" networkctl --json=short --no-pager list
    ! have nmcli || {
        brief network-manager timeout "$tool_seconds" nmcli -t -f "$NM_LINK" device show
        brief profiles timeout "$tool_seconds" nmcli -t -f UUID,FILENAME connection
    }
    brief wireless network_wireless
    ! have firewall-cmd || ! systemctl is-active --quiet firewalld.service || brief firewall network_firewall
    [ ! -e "$BRIDGE_FILTER" ] || value bridge-filter "$(cat "$BRIDGE_FILTER")"
    for _file in "$etc"/systemd/network/*.network "$etc"/systemd/network/*.netdev; do
        [ ! -f "$_file" ] || network_file "$_file"
    done
    for _file in "$etc/udev/rules.d/86-pyinfra-nspawn.rules" \
        "$etc"/NetworkManager/system-connections/pyinfra-nspawn-*.nmconnection; do
        [ ! -f "$_file" ] || network_file "$_file"
    done
    network_paths
    [ ! -d "$tried" ] || value network-change "$(network_change)"
    [ ! -s "$network_verdict" ] || part network-verdict printable <"$network_verdict"
}

# A line of JSON for each family.
network_routes() {
    ip -j -4 route show default && ip -j -6 route show default
}

network_wireless() {
    for _link in /sys/class/net/*; do
        [ ! -e "$_link/wireless" ] && [ ! -e "$_link/phy80211" ] || printf '%s\n' "${_link##*/}"
    done
}

# A line of JSON each: the zone of links that have none of their own, the links that have one, and the settings of the former.
network_firewall() {
    _default=$(firewalld "$FIREWALLD" getDefaultZone) || return
    printf '%s\n' "$_default"
    firewalld "$FIREWALLD.zone" getActiveZones || return
    firewalld "$FIREWALLD.zone" getZoneSettings2 s "$(printf '%s\n' "$_default" | sed 's/.*\["\(.*\)"\].*/\1/')"
}

firewalld() { # INTERFACE METHOD ARGUMENT...
    timeout "$tool_seconds" busctl --json=short call "$FIREWALLD" /org/fedoraproject/FirewallD1 "$@"
}

# Whether anything is at work upon the change that is being tried.
network_change() {
    if is_network_tried; then echo running; else echo stale; fi
}

# network_file PATH: ours, or what a foreign one says of bridges: it may hold the keys of a tunnel.
network_file() {
    if is_ours "$1"; then
        content network-file "$1" "$(stat -L -c %s "$1")"
    else
        as_word "$1"
        brief "network-foreign $word" sed -n 's/^[[:space:]]*\(Name\|Kind\|Bridge\)[[:space:]]*=[[:space:]]*/\1=/p' "$1"
    fi
}
