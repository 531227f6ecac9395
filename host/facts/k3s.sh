# shellcheck shell=sh
# What k3s needs, tried in guests that run; see facts/k3s.py.

# facts_k3s NAME...: all of them at once; nothing of one that does not run.
facts_k3s() {
    is_root || return 0
    guest_machines "$@" >/dev/null
    part clock timeout "$tool_seconds" timedatectl show --property=NTPSynchronized --value
    for _name; do
        shift
        looked_up "$_name" "$leaders"
        [ -z "$found" ] || set -- "$@" "$_name"
    done
    beside guest_k3s "$@"
}

# The unit has a cgroup, a /var/tmp and mounts of its own, which end with it. Its device list allows /dev/kmsg and not
# /dev/net/tun: only a filter in bpf keeps that closed.
guest_k3s() { # NAME
    printf '%s\n' "$TRY_K3S" | guest_part "k3s $1" in_guest "$1" "Try what k3s needs" --property=Delegate=yes \
        --property=PrivateTmp=yes --property=DevicePolicy=closed --property="DeviceAllow=/dev/kmsg r"
}

# A line each: `met NAME`, `unmet NAME TEXT`, `untried NAME TEXT`, or what was measured.
# shellcheck disable=SC2016 # for the guest's shell
TRY_K3S='
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
try() { # NAME COMMAND...
    _name=$1
    shift
    _said=$("$@" 2>&1) && echo "met $_name" || echo "unmet $_name $(printf "%s\n" "$_said" | tail -n 1)"
}
have() { command -v "$1" >/dev/null; }
real_root() {
    read -r _inside _outside _count </proc/self/uid_map
    [ "$_inside $_outside $_count" = "0 0 4294967295" ] || { echo "its root is user $_outside of the host"; return 1; }
}
kernel_log() {
    [ -c /dev/kmsg ] || { echo "it has no /dev/kmsg"; return 1; }
    true </dev/kmsg
}
rewrites() { _value=$(cat "$1") && echo "$_value" >"$1"; }
# systemd gives each service a session keyring, with this key in it. Another user sees the key only by that keyring:
# services of the host have such keys too. nspawn hides /proc/keys; a fresh procfs has it.
keyring() {
    mkdir /tmp/proc && mount -t proc proc /tmp/proc || return
    setpriv --reuid=65534 grep -q " user  *invocation_id" /tmp/proc/keys ||
        { echo "a service has no session keyring"; return 1; }
}
closed() {
    ! true <"$1" || { echo "a filter of devices has no effect"; return 1; }
} 2>/dev/null
overlay() {
    cd /var/tmp && mkdir lower upper work merged || return
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
}
propagates() {
    grep -q "^[^ ]* [^ ]* [^ ]* [^ ]* / [^ ]* shared:" /proc/1/mountinfo || { echo "/ is not shared"; return 1; }
}
# kubelet does the same: it makes cgroups below its own, in which it may then have no process.
controllers() {
    cd "/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)" && mkdir below || return
    for _process in $(cat cgroup.procs); do echo "$_process" >below/cgroup.procs; done 2>/dev/null
    _lacks=
    for _controller in cpu cpuset memory pids; do
        echo "+$_controller" >cgroup.subtree_control || _lacks="$_lacks $_controller"
    done 2>/dev/null
    [ -z "$_lacks" ] || { echo "without$_lacks"; return 1; }
}
# In a namespace of its own: nothing is left of what is made there.
link() { unshare --net ip link add name probe type "$@"; }
filter() {
    if have nft; then
        unshare --net nft "add table ip probe; add chain ip probe probe { type nat hook postrouting priority 100; }"
    else
        unshare --net iptables -t nat -A POSTROUTING -j MASQUERADE
    fi
}
try real-root real_root
try kernel-log kernel_log
try keyring keyring
if [ -e /dev/net/tun ]; then try bpf closed /dev/net/tun; else echo "untried bpf it has no /dev/net/tun"; fi
try controllers controllers
try overlay overlay
try propagation propagates
try conntrack-table cat /sys/module/nf_conntrack/parameters/hashsize
try conntrack rewrites /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established
try forwarding rewrites /proc/sys/net/ipv4/ip_forward
try bridge-filter rewrites /proc/sys/net/bridge/bridge-nf-call-iptables
if have ip; then
    try bridge link bridge
    try vxlan link vxlan id 1 dstport 4789
else
    echo "untried bridge it has no ip"
    echo "untried vxlan it has no ip"
fi
if have nft || have iptables; then try filter filter; else echo "untried filter it has neither nft nor iptables"; fi
sed "1d; s/ .*//; s/^/swap /" /proc/swaps
df -Pk /var | sed -n "2s/^[^ ]* *\([0-9]*\) *[0-9]* *\([0-9]*\) .*/space \1 \2/p"
sed "1d" /proc/net/route | while read -r _link _network _ _ _ _ _ _mask _; do echo "route $_link $_network $_mask"; done
while read -r _network _length _ _ _ _ _ _ _ _link; do echo "route6 $_link $_network $_length"; done </proc/net/ipv6_route
echo done'
