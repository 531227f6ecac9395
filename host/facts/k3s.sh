# shellcheck shell=sh
# The preconditions of k3s, tested in guests that run; see facts/k3s.py.

# guest_k3s NAME: the unit has a cgroup, a /var/tmp and mounts of its own, which end with it. Its device list lacks /dev/full:
# only a filter in bpf keeps that closed. What takes a module that is not loaded is left out: the kernel would load it.
guest_k3s() {
    printf 'modules="%s"\n%s\n%s\n' "$(host_modules | tr '\n' ' ')" "$NODE" "$TEST_K3S" |
        guest_part "k3s $1" in_guest "$1" "Test the preconditions of k3s" --property=Delegate=yes --property=PrivateTmp=yes \
            --property=DevicePolicy=strict --property="DeviceAllow=/dev/null rw" --property="DeviceAllow=/dev/kmsg r"
}

# A line each: `met NAME`, `unmet NAME TEXT`, `untried NAME TEXT`, or a measured value. At the end the service of k3s.
# shellcheck disable=SC2016 # for the guest's shell
TEST_K3S='
exec 2>/dev/null
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
try() { # NAME COMMAND...
    _name=$1
    shift
    if _said=$("$@" 2>&1); then
        echo "met $_name"
    else
        printf "unmet %s %s\n" "$_name" "$(printf "%s\n" "$_said" | head -n 1)"
    fi
}
try_with() { # TOOLS MODULE NAME COMMAND...: untried without one of the tools or without the module; either may be empty
    _tools=$1 _module=$2
    shift 2
    case "${_module:+ $modules }" in "" | *" $_module "*) ;; *) echo "untried $1 needs $_module"; return ;; esac
    for _tool in $_tools; do
        command -v "$_tool" >/dev/null || { echo "untried $1 it has no $_tool"; return; }
    done
    try "$@"
}
real_root() {
    read -r _inside _outside _count </proc/self/uid_map
    [ "$_inside $_outside $_count" = "0 0 4294967295" ] || { echo "its root is user $_outside of the host"; return 1; }
}
kernel_log() {
    [ -c /dev/kmsg ] || { echo "it has no /dev/kmsg"; return 1; }
    true </dev/kmsg
}
# Only opens the file: its value may change before it could be written back.
writable() { true >>"$1"; }
# systemd gives each service a session keyring, with this key in it. Another user sees the key only by that keyring:
# services of the host have such keys too. nspawn hides /proc/keys; a fresh procfs has it.
keyring() {
    mkdir /tmp/proc && mount -t proc proc /tmp/proc || return
    setpriv --reuid=65534 grep -q " user  *invocation_id" /tmp/proc/keys ||
        { echo "a service has no session keyring"; return 1; }
}
bpf() {
    _opened=$(head -c 1 /dev/full 2>&1 >/dev/null) && { echo "a filter of devices has no effect"; return 1; }
    case $_opened in *"not permitted"*) ;; *) printf "%s\n" "$_opened"; return 1 ;; esac
}
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
# In a network namespace of its own, which ends with the command.
link() { unshare --net ip link add name probe type "$@"; }
filter() {
    unshare --net nft "add table ip probe; add chain ip probe probe { type nat hook postrouting priority 100; }"
}
try real-root real_root
try kernel-log kernel_log
try_with setpriv "" keyring keyring
try bpf bpf
try controllers controllers
try_with "" overlay overlay overlay
try propagation propagates
try_with "" nf_conntrack conntrack-table cat /sys/module/nf_conntrack/parameters/hashsize
try_with "" nf_conntrack conntrack writable /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established
try forwarding writable /proc/sys/net/ipv4/ip_forward
try_with "" br_netfilter bridge-filter writable /proc/sys/net/bridge/bridge-nf-call-iptables
try_with "ip unshare" "" bridge link bridge
try_with "ip unshare" vxlan vxlan link vxlan id 1 dstport 4789
try_with "nft unshare" nft_chain_nat filter filter
sed "1d; s/ .*//; s/^/swap /" /proc/swaps
df -Pk /var | sed -n "2s/^[^ ]* *\([0-9]*\) *[0-9]* *\([0-9]*\) .*/space \1 \2/p"
sed "1d" /proc/net/route | while read -r _link _network _gateway _ _ _ _ _mask _; do
    echo "route $_link $_network $_mask $_gateway"
done
while read -r _network _length _ _ _gateway _ _ _ _ _link; do
    echo "route6 $_link $_network $_length $_gateway"
done </proc/net/ipv6_route
if [ -e /etc/systemd/system/k3s.service ]; then
    systemctl show -p LoadState,UnitFileState,ActiveState k3s.service | sed "s/^/service /"
    echo "files $(node_files)"
    sed "s/^/started /" /run/k3s/started
    [ ! -e /run/k3s/started ] || node | sed "s/^/node /"
fi
echo done'
