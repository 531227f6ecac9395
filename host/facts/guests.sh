# shellcheck shell=sh
# The guests of a host; see facts/nspawn.py. What systemd and machined say of all of them are two parts, in which no
# guest has a say; the rest is a part each, of one guest.

# facts_guests [NAME...]: every guest that this host knows of, ours or not, and these.
facts_guests() {
    is_root || {
        part root no_root
        return
    }
    # shellcheck disable=SC2046 # names have no spaces
    guests_of $({
        [ $# = 0 ] || printf '%s\n' "$@"
        guest_names
    } | sort -u)
}

is_root() {
    [ "$(id -u)" = 0 ]
}

no_root() {
    echo "this takes root: set _sudo to True in the inventory" >&2
    return 1
}

# is_name TEXT: what is no machine's name is no guest, and never a word of a header.
is_name() {
    case $1 in "" | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) return 1 ;; esac
}

guest_names() {
    for _path in "$state"/*/ "${state%/*}/machines"/*/ "${state%/*}/machines"/*.raw \
        "$etc"/systemd/nspawn/*.nspawn "$run"/systemd/nspawn/*.nspawn \
        "$etc"/systemd/system/systemd-nspawn@?*.service.d "$run"/systemd/system/systemd-nspawn@?*.service.d \
        "$etc"/systemd/system.control/systemd-nspawn@?*.service.d \
        "$run"/systemd/system.control/systemd-nspawn@?*.service.d \
        "$etc"/systemd/system/*.wants/systemd-nspawn@?*.service \
        "$etc"/systemd/system/*.requires/systemd-nspawn@?*.service \
        "$run"/systemd/machines/*; do
        [ -e "$_path" ] || [ -L "$_path" ] || continue
        _path=${_path%/}
        _name=${_path##*/}
        case $_path in
        *.nspawn) _name=${_name%.nspawn} ;;
        */machines/*.raw) _name=${_name%.raw} ;;
        *.service.d) _name=${_name#systemd-nspawn@} _name=${_name%.service.d} ;;
        *.service) _name=${_name#systemd-nspawn@} _name=${_name%.service} ;;
        esac
        ! is_name "$_name" || printf '%s\n' "$_name"
    done
}

# guests_of NAME...: these alone, whether there are such guests or not.
guests_of() {
    guest_units "$@"
    guest_machines "$@"
    guest_definitions
    beside guest_facts "$@"
}

# guest_units NAME...: the part `units`; sets pids (" NAME=PID ...") and elsewhere (" NAME=PATH ...", the drop-ins
# that do not lie in the guest's own directory of /etc).
guest_units() {
    pids=' ' elsewhere=
    for _name; do
        set -- "$@" "systemd-nspawn@$_name.service"
        shift
    done
    _shown=$([ $# = 0 ] || units_shown "$@" 2>/dev/null)
    _code=$?
    if [ "$_code" != 0 ]; then # a systemd that does not answer is not one without units
        part units units_shown "$@"
        return
    fi
    brief units printf '%s\n' "$_shown"
    _pid=0 _paths='' _name=''
    while IFS='=' read -r _key _text; do
        case $_key in
        Id) _name=${_text#systemd-nspawn@} _name=${_name%.service} ;;
        MainPID) _pid=$_text ;;
        DropInPaths) _paths=$_text ;;
        '')
            guest_unit "$_name" "$_pid" "$_paths"
            _pid=0 _paths='' _name=''
            ;;
        esac
    done <<EOF
$(printf '%s\n' "$_shown" | grep -E '^$|^(Id|MainPID|DropInPaths)=')

EOF
}

units_shown() { # UNIT...
    timeout "$tool_seconds" systemctl show \
        -p Id,LoadState,UnitFileState,ActiveState,SubState,Result,NeedDaemonReload,DropInPaths,FragmentPath,MainPID \
        -p ExecMainStartTimestamp,ExecMainStartTimestampMonotonic,NRestarts,ExecStart,DeviceAllow \
        -p MemoryMax,CPUQuotaPerSecUSec,TasksMax,IOWeight,MemoryCurrent \
        -- "$@"
}

guest_unit() { # NAME PID PATHS
    pids="$pids$1=$2 "
    set -f
    # shellcheck disable=SC2086 # a path with a space is quoted in there, and not looked at
    for _path in $3; do
        case $_path in
        "$etc/systemd/system/systemd-nspawn@$1.service.d"/*) ;;
        /*) elsewhere="$elsewhere $1=$_path" ;;
        esac
    done
    set +f
}

# guest_machines NAME...: the part `machines`; sets leaders (" NAME=PID ..."). No `list`: that asks the guests.
guest_machines() {
    leaders=' '
    for _name; do
        [ ! -e "$run/systemd/machines/$_name" ] || set -- "$@" "$_name"
        shift
    done
    [ $# != 0 ] && have machinectl || return 0
    _shown=$(machines_shown "$@")
    brief machines printf '%s\n' "$_shown"
    _name='' _leader=''
    while IFS='=' read -r _key _text; do
        case $_key in
        Name) _name=$_text _leader='' ;;
        Leader) _leader=$_text ;;
        esac
        [ -z "$_leader" ] || leaders="$leaders$_name=$_leader "
    done <<EOF
$_shown
EOF
}

# It ends at the first that is gone in the meantime; then they are asked one by one.
machines_shown() {
    timeout "$tool_seconds" machinectl show "$@" -p Name -p Leader -p Unit -p Class -p Id 2>/dev/null && return
    for _name; do
        timeout "$tool_seconds" machinectl show "$_name" -p Name -p Leader -p Unit -p Class -p Id 2>/dev/null
        echo
    done
    return 0
}

# The definition that a running guest was started with is in the environment of its nspawn: sets
# digests (" PID=DIGEST ...").
guest_definitions() {
    digests=' '
    # shellcheck disable=SC2086 # neither have pairs
    set -- $pids
    for _pair; do
        [ "${_pair##*=}" = 0 ] || set -- "$@" "/proc/${_pair##*=}/environ"
        shift
    done
    [ $# != 0 ] || return 0
    digests=" $(grep -azsH '^PYINFRA_NSPAWN_DEFINITION=[0-9a-f]*$' "$@" | tr '\0' '\n' |
        sed -n 's|^/proc/\([0-9]*\)/environ:PYINFRA_NSPAWN_DEFINITION=|\1=|p' | tr '\n' ' ')"
}

# looked_up KEY LIST: sets found to the value of KEY in a list " KEY=VALUE ..."; to nothing where there is none.
looked_up() {
    found=
    case $2 in
    *" $1="*)
        found=${2#*" $1="}
        found=${found%% *}
        ;;
    esac
}

# Everything that one guest has a say in, or its files.
guest_facts() { # NAME
    value "guest $1" ""
    guest_directory "$1"
    guest_backups "$1"
    guest_files "$1"
    guest_credentials "$1"
    guest_image "$1"
    guest_trial "$1"
    looked_up "$1" "$pids"
    looked_up "${found:-0}" "$digests"
    [ -z "$found" ] || value "definition $1" "$found"
    [ ! -e "$run/systemd/machines/$1" ] || guest_machine "$1"
}

guest_directory() { # NAME
    [ -d "$state/$1" ] || return
    value "directory $1" "$(stat -c '%a %u:%g' "$state/$1")"
    for _link in current stateroot; do
        [ ! -L "$state/$1/$_link" ] || brief "$_link $1" readlink "$state/$1/$_link"
    done
    [ ! -L "$state/$1/fallback" ] || brief "falls-back-to $1" readlink "$state/$1/fallback"
    [ ! -d "$state/$1/k3s" ] || brief "k3s-placed $1" guest_placed "$state/$1/k3s"
    [ ! -f "$state/$1/unwritten" ] || value "unwritten $1" ""
    [ ! -f "$state/$1/refused" ] || value "refused $1" "$(sed '1{s/[^0-9a-f]//g;q;}' "$state/$1/refused")"
    [ ! -f "$state/$1/disk-limit" ] || brief "disk-limit $1" guest_disk_limit "$1"
    for _file in refused-commits upgraded restoring restored; do
        [ ! -f "$state/$1/$_file" ] || brief "$_file $1" head -c 4000 "$state/$1/$_file"
    done
}

# `PROJECT SYSROOT KIB`, and lines `BLOCK_BYTES BLOCKS FREE` of its /var and its /etc: those of the quota where one is in force.
guest_disk_limit() { # NAME
    head -n 1 "$state/$1/disk-limit"
    _root=$state/$1
    [ ! -L "$_root/stateroot" ] || _root=$sysroot
    stat -f -c '%S %b %f' "$_root/ostree/deploy/$1/var" "$state/$1/current/etc"
}

# A line `FILE BYTES` for each of its archives.
guest_backups() { # NAME
    [ ! -d "$state/.backups/$1" ] || brief "backups $1" find "$state/.backups/$1" -name '[0-9]*.tar*' -printf '%f %s\n'
}

# `file SHA256 PATH` of each file of k3s that is placed for it, `joined HOW CLUSTER NODE` and `cordoned`; the digest is empty where
# the host does not store the file.
guest_placed() { # DIRECTORY
    for _path in "$1/k3s" "$1/images"/*; do
        [ ! -f "$_path" ] || echo "file $(stored_as "$_path") ${_path#"$1/"}"
    done
    [ ! -e "$1/.joined" ] || sed 's/^/joined /;q' "$1/.joined"
    [ ! -e "$1/.cordoned" ] || echo cordoned
}

guest_files() { # NAME
    set -- "$1" "$etc/systemd/nspawn/$1.nspawn" "$run/systemd/nspawn/$1.nspawn" \
        "$etc/systemd/system/systemd-nspawn@$1.service.d"/*.conf
    _name=$1
    shift
    for _path; do
        [ ! -f "$_path" ] || set -- "$@" "$_path"
        shift
    done
    each_stat '%a %u:%g %s' guest_file "$@"
    set -f
    # shellcheck disable=SC2086 # no path in there has a space
    set -- $elsewhere
    set +f
    for _pair; do
        [ "${_pair%%=*}" != "$_name" ] || [ ! -f "${_pair#*=}" ] || set -- "$@" "${_pair#*=}"
        shift
    done
    each_stat %s guest_dropin "$@"
}

guest_file() { # MODE-OWNER-SIZE PATH
    content "file $_name ${1% *}" "$2" "${1##* }"
}

guest_dropin() { # SIZE PATH
    content "dropin $_name" "$2" "$1"
}

# content HEADER PATH SIZE: the path is the last word of the header.
content() {
    as_word "$2"
    _header="$1 $word"
    [ "$3" -le "$CAP" ] || {
        printf ':: %s\n+\n' "$_header"
        return
    }
    {
        _stdout=$(content_of "$2")
    } 2>/dev/null # bash says that it drops a NUL
    if [ "${#_stdout}" = $(($3 + 2)) ]; then
        captured "$_header" "$_stdout"
    else
        printf ':: %s\n+' "$_header"
        content_of "$2" | base64 -w 0
        echo
    fi
}

content_of() { # PATH
    cat -- "$1" 2>/dev/null
    printf '\n%s' "$?"
}

# each_stat FORMAT FUNCTION PATH...: calls FUNCTION for each with what `stat` says of it: one process, unless one is gone in
# the meantime.
each_stat() {
    _format=$1 _call=$2
    shift 2
    [ $# != 0 ] || return 0
    _stats=$(stat -c "$_format" -- "$@" 2>/dev/null) || _stats=
    for _path; do
        if [ -z "$_stats" ]; then
            "$_call" "$(stat -c "$_format" -- "$_path" 2>/dev/null || echo '? ? 0')" "$_path"
        else
            "$_call" "${_stats%%"$NEWLINE"*}" "$_path"
            _stats=${_stats#*"$NEWLINE"}
        fi
    done
}

guest_credentials() { # NAME
    _name=$1
    set --
    for _path in "$state/$_name/credentials"/*; do
        [ ! -f "$_path" ] || set -- "$@" "$_path"
    done
    each_stat %a guest_credential "$@"
}

guest_credential() { # MODE PATH
    _digest=$(sha256sum <"$2")
    as_word "${2##*/}"
    value "credential $_name $word $1" "${_digest%% *}"
}

# A tree or image that the unit would boot were it not for ours.
guest_image() { # NAME
    for _path in "${state%/*}/machines/$1" "${state%/*}/machines/$1.raw"; do
        [ ! -e "$_path" ] || value "image $1" "$_path"
    done
}

guest_trial() { # NAME
    is_tried "$1" || return 0
    if runs_apart trial "$1"; then value "trial $1" running; else value "trial $1" interrupted; fi
}

# A guest that floods or does not answer must neither keep the answer waiting nor spoil what is said of others.
guest_machine() { # NAME
    looked_up "$1" "$leaders"
    [ -z "$found" ] || guest_part "etc $1" guest_etc "/proc/$found/mountinfo"
    now
    _until=$((now + ask_seconds))
    guest_part "system $1" asked "$1" show -p SystemState
    guest_part "units-of $1" asked_until "$_until" "$1" \
        list-units --all --full --plain --no-legend --state=failed,auto-restart
}

asked() { # NAME COMMAND...
    _name=$1
    shift
    timeout -k 1 "$ask_seconds" systemctl -M "$_name" "$@"
}

# asked_until UPTIME NAME COMMAND...: `asked` with a timeout at UPTIME, but of at least one second.
asked_until() {
    now
    if [ "$now" -lt "$1" ]; then ask_seconds=$(($1 - now)); else ask_seconds=1; fi
    shift
    asked "$@"
}

# in_guest NAME DESCRIPTION [OPTION...]: runs the script on stdin in the guest's sh; systemd-run expands `$` in arguments. The
# guest gets one end of each of two pipes, and may keep them open for ever: our `cat` hold the other ends and stop after a timeout.
in_guest() {
    _name=$1 _description=$2
    shift 2
    {
        _code=$({
            timeout -k 1 "$tool_seconds" cat | {
                timeout -k 1 "$tool_seconds" systemd-run --machine="$_name" --quiet --pipe --wait --collect \
                    --description="$_description" --property=RuntimeMaxSec="$tool_seconds" "$@" sh 2>&1 5>&- 6>&-
                echo "$?" >&5
            } | timeout -k 1 "$((tool_seconds + 2))" cat | head -c "$GUEST_CAP" >&6
        } 5>&1) || :
    } 6>&1
    return "${_code:-1}"
}

# Field 4 of the mount at /etc in the guest: that of the deployment it was started from. Its / may be an overlay; but in
# a hand-made guest it may be the deployment itself, with no mount at /etc.
guest_etc() { # MOUNTINFO
    sed -n -e 's|^[^ ]* [^ ]* [^ ]* \([^ ]*\) /etc .*|\1|;t etc' \
        -e 's|^[^ ]* [^ ]* [^ ]* \([^ ]*\) / .*|\1/etc|;t root' -e '$!d;g;p;d' \
        -e ':root;h;$!d;p;d' -e ':etc;p;q' "$1"
}

# facts_usage none|addresses|disk [NAME...]: the addresses of each guest that runs, from the kernel: no guest is asked. With `disk`
# each measures its own files: what root of a guest moves about is no path for the host's root. In the guests of these names the
# preconditions of k3s are tested. All guests are asked side by side.
facts_usage() {
    is_root || return 0
    _asked=$1
    shift
    tested=" $* "
    [ $# = 0 ] || part clock timeout "$tool_seconds" timedatectl show --property=NTPSynchronized --value
    # shellcheck disable=SC2046 # names have no spaces
    set -- $(guest_names | sort -u)
    guest_machines "$@" >/dev/null
    for _name; do
        shift
        looked_up "$_name" "$leaders"
        [ -n "$found" ] || continue
        [ "$_asked" = none ] || guest_part "addresses $_name" guest_addresses "/proc/$found/net"
        [ "$_asked" != disk ] || set -- "$@" "disk:$_name"
        case $tested in *" $_name "*) set -- "$@" "k3s:$_name" ;; esac
    done
    beside guest_answer "$@"
}

guest_answer() { # WHAT:NAME
    case $1 in
    disk:*) guest_disk "${1#*:}" ;;
    k3s:*) guest_k3s "${1#*:}" ;;
    esac
}

guest_disk() { # NAME
    echo "exec du -scxk /etc /var" | guest_part "disk $1" in_guest "$1" "Measure files"
}

# Each local address of fib_trie stands in the line before `/32 host LOCAL`, twice: as main and as local table.
guest_addresses() { # DIRECTORY
    sed -n -e '/^ *|-- /{s/.* //;h;}' -e '/\/32 host LOCAL/{g;s/^/4 /;p;}' "$1/fib_trie" | sort -u
    sed 's/ .*//;s/^/6 /' "$1/if_inet6"
}
