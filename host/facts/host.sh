# shellcheck shell=sh
# What kind of host this is: a part a value; see facts/host.py.

facts_host() {
    value user "$(id -u)"
    host_has ostree-booted "$run/ostree-booted"
    value kernel "$(uname -r)"
    brief commands host_commands
    have systemctl && part systemd host_first_line systemctl --version
    have ostree && part ostree ostree --version
    value cgroup "$(stat -fc %T /sys/fs/cgroup)"
    brief sysroot-options host_sysroot_options
    part state-file-system host_state_file_system
    brief mount-options host_mount_options
    value state-version "$(state_version)"
    host_setting user-namespaces /proc/sys/user/max_user_namespaces
    host_setting inotify-instances "$INOTIFY_INSTANCES"
    [ ! -e "$etc/sysctl.d/60-pyinfra-nspawn.conf" ] ||
        part sysctl-file without_nul "$etc/sysctl.d/60-pyinfra-nspawn.conf"
    brief modules host_modules
    brief sysctls host_sysctls
    [ ! -e "$etc/modules-load.d/60-pyinfra-nspawn-k3s.conf" ] ||
        part k3s-modules-file without_nul "$etc/modules-load.d/60-pyinfra-nspawn-k3s.conf"
    [ ! -e "$etc/sysctl.d/60-pyinfra-nspawn-k3s.conf" ] ||
        part k3s-sysctls-file without_nul "$etc/sysctl.d/60-pyinfra-nspawn-k3s.conf"
    [ ! -d "$etc/ostree" ] || brief remote-files host_remote_files
    [ ! -d "$state/.k3s" ] || brief k3s-store host_store
    [ ! -e /sys/fs/selinux/enforce ] || host_setting selinux-enforce /sys/fs/selinux/enforce
    [ ! -e "$etc/selinux/config" ] || part selinux-config sed -n 's/^SELINUX=//p' "$etc/selinux/config"
    [ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" != 1 ] || brief selinux-denials selinux_denials
    have systemctl && part machines-target timeout "$tool_seconds" systemctl show machines.target -p LoadState -p UnitFileState
    return 0
}

host_has() { # HEADER PATH
    if [ -e "$2" ]; then value "$1" yes; else value "$1" no; fi
}

host_commands() {
    for _name in age chattr dnsmasq flock gpg lsattr machinectl nft ostree rpm-ostree setquota systemd-nspawn unshare; do
        have "$_name" && printf '%s\n' "$_name"
    done
    return 0
}

# The modules that guests with k3s need, loaded or built in; see specs/k3s.py. Every look asks: the list is read once.
host_modules() {
    _built_in=$(cat "/usr/lib/modules/$(uname -r)/modules.builtin" 2>/dev/null || :)
    for _name in br_netfilter nf_conntrack nf_tables nft_chain_nat nft_compat overlay vxlan; do
        case $_built_in in
        *"/$_name.ko"*) ;;
        *) [ -e "/sys/module/$_name" ] || continue ;;
        esac
        printf '%s\n' "$_name"
    done
}

# PATH:VALUE below /proc/sys of those that exist.
host_sysctls() {
    cd /proc/sys || return
    grep -s . vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/bridge/bridge-nf-call-arptables \
        net/bridge/bridge-nf-call-ip6tables net/bridge/bridge-nf-call-iptables net/netfilter/nf_conntrack_max || :
}

# SIZE LINKS NAME of each stored file of k3s; one that is not whole is called .SHA256.part.
host_store() {
    stat -c '%s %h %n' "$state/.k3s"/* "$state/.k3s"/.*.part 2>/dev/null | sed 's| /.*/| |' || :
}

# PATH BASE64 of each file of a remote that is ours.
host_remote_files() {
    # One process for all of them: every look asks.
    grep -lsxF "$MANAGED" "$etc"/ostree/remotes.d/*.conf "$etc"/ostree/pyinfra-nspawn/*.asc | while read -r _file; do
        printf '%s %s\n' "$_file" "$(base64 -w 0 "$_file")"
    done
}

host_first_line() {
    "$@" | head -n 1
}

# Not `read`: dash reads byte by byte, and files of /proc/sys end after the first read.
host_setting() { # HEADER FILE
    part "$1" cat "$2"
}

# The options of the last mount at /sysroot; none where /sysroot is no mount.
host_sysroot_options() {
    sed -n "s|^[^ ]* [^ ]* [^ ]* [^ ]* $sysroot \([^ ]*\) .*|\1|p" /proc/self/mountinfo | tail -n 1
}

# Which may be a file system of its own.
host_state_file_system() {
    _path=$state
    [ -e "$_path" ] || _path=${state%/*}
    stat -fc %T "$_path"
    df -Pk "$_path" | tail -n 1
}

# KIND OPTIONS of the file systems that private guests lie on, and shared ones.
host_mount_options() {
    for _path in "$state" "$sysroot/ostree/deploy"; do
        _kind=private
        [ "$_path" = "$state" ] || _kind=shared
        [ -e "$_path" ] || _path=${_path%/*}
        echo "$_kind $(findmnt --noheadings --first-only --output OPTIONS --target "$_path")"
    done
}

# without_nul FILE: a shell drops NUL bytes, and the file that a power cut has filled with them would look like ours.
without_nul() {
    tr '\0' '\1' <"$1"
}

AUDIT_LOG=/var/log/audit/audit.log

# SELinux's denials to machined, networkd, nspawn and guests since it last loaded a policy: at boot, or when an administrator
# allowed some. Lines of SOURCE TARGET CLASS PERMISSION..., each once. While auditd runs, the kernel's log has none. Both logs
# are read from their end, and failures are ignored: the denials are for notes alone.
selinux_denials() {
    {
        timeout "$tool_seconds" journalctl --boot --quiet --no-pager --output=short-unix --lines=2000 \
            _TRANSPORT=kernel _TRANSPORT=audit
        tail -c "$CAP" "$AUDIT_LOG" | sed -n 's/^\(type=[A-Z_]*\) msg=audit(\([0-9.]*\):[^ ]*/\2 \1/p'
    } 2>/dev/null | grep -aE 'avc:  denied .* permissive=0|MAC_POLICY_LOAD|SYSTEM_BOOT|type=1403 ' | sort -n | awk '
        !/avc:  denied/ { split("", seen); found = ""; next }
        {
            permissions = comm = source = target = class = ""
            for (i = 1; i <= NF; i++) {
                if ($i == "{") while ($++i != "}" && i <= NF) permissions = permissions " " $i
                if (index($i, "comm=\"") == 1) comm = substr($i, 7)
                if (index($i, "scontext=") == 1) { split($i, context, ":"); source = context[3] }
                if (index($i, "tcontext=") == 1) { split($i, context, ":"); target = context[3] }
                if (index($i, "tclass=") == 1) class = substr($i, 8)
            }
            denial = source " " target " " class permissions
            if (source ~ /^systemd_(machined|networkd|nspawn)_t$/ || comm ~ /^systemd-(machine|nspawn)/)
                if (!seen[denial]++) found = found denial "\n"
        }
        END { printf "%s", found }
    ' | grep -xE '[a-z0-9_ ]+' | tail -n 50
}
