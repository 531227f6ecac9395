# shellcheck shell=sh
# guests [NAME]: that guest, or every one that this host knows of, ours or not. Prints the parts `units` and `machines`, and for each guest
# `directory`, `current`, `stateroot`, `file`, `credential`, and while it runs `definition`, `machine`, `system`,
# `failed` and `etc`.

names() {
    for path in /var/lib/pyinfra-nspawn/* \
        /etc/systemd/nspawn/*.nspawn /run/systemd/nspawn/*.nspawn \
        /etc/systemd/system/systemd-nspawn@?*.service.d /run/systemd/system/systemd-nspawn@?*.service.d \
        /etc/systemd/system.control/systemd-nspawn@?*.service.d \
        /run/systemd/system.control/systemd-nspawn@?*.service.d \
        /etc/systemd/system/machines.target.wants/systemd-nspawn@?*.service /run/systemd/machines/*; do
        if [ -e "$path" ] || [ -L "$path" ]; then :; else continue; fi
        name=${path##*/}
        name=${name#systemd-nspawn@}
        case $path in
        /run/systemd/machines/unit:*) continue ;;
        */nspawn/*) name=${name%.nspawn} ;;
        *.service.d) name=${name%.service.d} ;;
        */machines.target.wants/*) name=${name%.service} ;;
        esac
        # What is no machine's name is no guest: a stray file must not become a part's header.
        case $name in *[!A-Za-z0-9_.-]* | .*) continue ;; esac
        printf '%s\n' "$name"
    done | sort -u
}

units() {
    set --
    for name in $all; do
        set -- "$@" "systemd-nspawn@$name.service"
    done
    [ $# = 0 ] || systemctl show \
        -p Id,LoadState,UnitFileState,ActiveState,SubState,Result,NeedDaemonReload \
        -p DropInPaths,FragmentPath,MainPID,ExecMainStartTimestampMonotonic,NRestarts -- "$@"
}

files() { # NAME
    for path in "/etc/systemd/nspawn/$1.nspawn" "/etc/systemd/system/systemd-nspawn@$1.service.d"/*.conf; do
        [ ! -f "$path" ] || part "file $1 $(stat -c '%a %u:%g %n' "$path")" cat "$path"
    done
}

credentials() { # NAME
    for path in "/var/lib/pyinfra-nspawn/$1/credentials"/*; do
        [ -f "$path" ] || continue
        digest=$(sha256sum <"$path")
        value "credential $1 ${path##*/} $(stat -c %a "$path")" "${digest%% *}"
    done
}

directory() { # NAME
    [ -d "/var/lib/pyinfra-nspawn/$1" ] || return
    value "directory $1" "$(stat -c '%a %u:%g' "/var/lib/pyinfra-nspawn/$1")"
    for link in current stateroot; do
        [ ! -L "/var/lib/pyinfra-nspawn/$1/$link" ] ||
            value "$link $1" "$(readlink "/var/lib/pyinfra-nspawn/$1/$link")"
    done
}

# The definition that a running guest was started with is in the environment of its nspawn.
definition() { # MAIN-PID
    [ -r "/proc/$1/environ" ] || return
    tr '\0' '\n' <"/proc/$1/environ" | sed -n 's/^PYINFRA_NSPAWN_DEFINITION=//p'
}

# Reads what `units` printed: blocks of KEY=VALUE, an empty line after each.
definitions() {
    pid=0
    while IFS='=' read -r key text; do
        case $key in
        Id) name=${text#systemd-nspawn@} name=${name%.service} ;;
        MainPID) pid=$text ;;
        '')
            [ "$pid" = 0 ] || part "definition $name" definition "$pid"
            pid=0
            ;;
        esac
    done
}

# Field 4 of the mount at /etc in the guest: that of the deployment it was started from. Its / may be an overlay; but in
# a hand-made guest it may be the deployment itself, with no mount at /etc.
etc() { # LEADER
    root=
    while read -r _ _ _ from where _; do
        case $where in
        /) root=$from ;;
        /etc) echo "$from" && return ;;
        esac
    done <"/proc/$1/mountinfo"
    echo "$root/etc"
}

# A guest that does not answer must not keep the run waiting.
machine() { # NAME
    shown=$(machinectl show "$1" -p Leader -p Unit -p Class 2>&1)
    part "machine $1" printf '%s' "$shown"
    leader=${shown##*Leader=}
    part "etc $1" etc "${leader%%[!0-9]*}"
    system=$(timeout 10 systemctl -M "$1" is-system-running 2>&1)
    part "system $1" printf '%s' "$system"
    [ "$system" != degraded ] ||
        part "failed $1" timeout 10 systemctl -M "$1" list-units --failed --plain --no-legend
}

# What `units` printed, with its exit code: a systemd that does not answer is not one without units.
told() {
    printf '%s\n' "$shown"
    return "$code"
}

need_root
all=${1:-$(names)}
shown=$(units 2>&1)
code=$?
part units told
definitions <<EOF
$shown

EOF
for name in $all; do
    directory "$name"
    files "$name"
    credentials "$name"
    [ ! -e "/run/systemd/machines/$name" ] || machine "$name"
done
have machinectl && part machines machinectl list --output=json --max-addresses=all
echo ":: done"
