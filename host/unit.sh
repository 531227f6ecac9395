# shellcheck shell=sh
# Whether a guest starts with the host, and whether it runs.

# unit NAME ENABLEMENT ACTION: `enable` or `disable`; `start` or `stop`. Either may be empty. It does not wait for a
# start: all guests that start are awaited together. `definition` may have skipped the reload because this step does it.
unit() {
    unit=systemd-nspawn@$1.service
    if [ -n "$2" ] && [ "$(systemctl is-enabled "$unit" 2>/dev/null)" != "${2}d" ]; then
        result=changed
        systemctl "$2" "$unit"
    fi
    active=$(systemctl show -p ActiveState -p NeedDaemonReload "$unit")
    case $active in *NeedDaemonReload=yes*) systemctl daemon-reload ;; esac
    active=${active#*ActiveState=}
    active=${active%%"$NEWLINE"*}
    case $3/$active in
    start/active | start/activating | start/reloading | stop/inactive | stop/failed | /*) ;;
    start/*)
        result=changed
        begin "$unit"
        ;;
    stop/*)
        result=changed
        systemctl stop "$unit"
        ;;
    esac
}

# begin UNIT: a guest that failed too often in a row is not started again until that is forgotten.
begin() {
    systemctl reset-failed "$1" 2>/dev/null || :
    systemctl start --no-block "$1"
}

# runs NAME DIGEST: whether the guest runs this definition, and the deployment that it has now: another run may have
# seen to it while this one waited for the lock.
runs() {
    _pid=$(systemctl show --value -p MainPID "systemd-nspawn@$1.service")
    grep -azqsx "PYINFRA_NSPAWN_DEFINITION=$2" "/proc/$_pid/environ" || return
    _leader=$(machinectl show --value -p Leader "$1") || return
    _chosen=$(readlink "$state/$1/current") || return
    grep -qsF "/${_chosen##*/}/etc /etc " "/proc/$_leader/mountinfo"
}

# restart NAME SECONDS ON_DEGRADED DIGEST FILES: so that it runs the deployment that it has now.
restart() {
    if ! runs "$1" "$4"; then
        result=changed
        systemctl stop "systemd-nspawn@$1.service"
        begin "systemd-nspawn@$1.service"
    fi
    verdict=$(judge "$1" "$2" "$3" "$5")
    conclude "$1" "$verdict"
}

# await_all NAME SECONDS ON_DEGRADED FILES...: of guests that were started, side by side; their facts follow.
await_all() {
    _names='' _awaited=''
    while [ $# -ge 4 ]; do
        _names="$_names $1" _awaited="$_awaited $1,$2,$3,$4"
        shift 4
    done
    # shellcheck disable=SC2086 # words without spaces
    _said=$(beside awaited $_awaited)
    printf '%s\n' "$_said"
    # shellcheck disable=SC2086
    (fact guest $_names)
    echo ":: done"
    case $_said in *":: trouble "*) exit 1 ;; esac
}

awaited() { # NAME,SECONDS,ON_DEGRADED,FILES
    exec 3>&1
    guest=${1%%,*} _wait=${1#*,}
    _files=${_wait##*,} _wait=${_wait%,*}
    _verdict=$(judge "$guest" "${_wait%,*}" "${_wait#*,}" "$_files")
    conclude "$guest" "$_verdict"
    value "step await $guest" nothing
}

# conclude NAME VERDICT [JOURNAL]: reports it. A verdict is `healthy` and perhaps a note, or `failed`, problem and hint, each
# a line.
conclude() {
    _text=${2#*"$NEWLINE"}
    case $2 in
    healthy) ;;
    healthy*) note "$_text" ;;
    *)
        said "journal $1" "${3-$(journal_of "$1")}" >&3
        die "${_text%%"$NEWLINE"*}" "${_text#*"$NEWLINE"}"
        ;;
    esac
}

# The guest's console is in there: no control sequence of a guest may reach a terminal.
journal_of() { # NAME
    timeout "$tool_seconds" journalctl --unit="systemd-nspawn@$1.service" --lines=15 --output=cat --no-pager 2>/dev/null |
        printable | tail -c 8000
}

# now: sets now to the seconds since the host's boot.
now() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

# judge NAME SECONDS ON_DEGRADED FILES: a verdict upon a guest that is on its way up. Healthy is one that says `running`,
# none of whose units keeps restarting, and that has the files that it was given; with ON_DEGRADED `report` also one
# with failed units.
judge() {
    now
    _began=$now _until=$((now + $2))
    # One that is on its way up, by itself or since a start was killed, has no bus yet to ask: this joins its start.
    if ! timeout "$2" systemctl start "systemd-nspawn@$1.service" >/dev/null 2>&1; then
        now
        failed "it did not start (waited $((now - _began)) s)" "Run \"journalctl -u systemd-nspawn@$1\" on the host."
        return
    fi
    _said=$(system_state "$1")
    case $_said in running | degraded) settle "$1" ;; esac
    now
    case $_said in
    running | degraded)
        _unwritten=$(unwritten "$1" "${4-}")
        if [ -n "$_unwritten" ]; then
            # The guest runs, and would be taken for healthy by the next look.
            printf '%s\n' "$_unwritten" | install_file 600 "$state/$1/unwritten"
            failed "$_unwritten" "Correct \`files\` in the inventory, or what is in its place in the guest."
            return
        fi
        rm -f "$state/$1/unwritten"
        ;;
    esac
    case $_said in
    running) echo healthy ;;
    degraded) degraded "$1" "$(units_of "$1" failed)" "failed" "$3" ;;
    restarting) degraded "$1" "$_looping" "keeps restarting" "$3" ;;
    *)
        _waited="(waited $((now - _began)) s)"
        [ -n "$_said" ] && _said="it says '$_said' and not 'running' $_waited" || _said="it gave no answer $_waited"
        failed "$_said" "Run \"systemctl -M $1 list-jobs\" on the host."
        ;;
    esac
}

failed() { # PROBLEM HINT
    printf 'failed\n%s\n%s\n' "$1" "$2"
}

# degraded NAME UNITS WHAT ON_DEGRADED: a verdict; `known:UNIT,UNIT,` in the place of ON_DEGRADED allows these to have failed.
degraded() {
    case $4 in
    report) _failed='' ;;
    known:*) _failed=$(new_units "$1" "$2" "$3" "$4") ;;
    *) _failed=${2:-a unit} ;;
    esac
    if [ -z "$_failed" ]; then
        printf 'healthy\n%s\n' "${2:-a unit} $3"
    else
        _unit=${_failed%%[ ,]*}
        [ "$_unit" != a ] || _unit=''
        failed "$_failed $3" "Run \"pyinfra-nspawn logs HOST:$1${_unit:+ -u $_unit}\"."
    fi
}

# new_units NAME UNITS WHAT KNOWN: those that failed and are not known to; all that keep restarting. A degraded guest that names
# none is not known.
new_units() {
    _all=$(all_units_of "$1" failed)
    if [ "$3" != failed ] || [ -z "$_all" ]; then
        echo "${2:-a unit}"
        return
    fi
    printf '%s\n' "${_all%,}" | tr ',' '\n' | while read -r _unit; do
        case ,${4#known:}, in *",$_unit,"*) ;; *) echo "$_unit" ;; esac
    done | head -n 5 | listed
}

# system_state NAME: what it says of itself once it is up, but at the latest at $_until. A bus that cannot be reached for
# 5 s will not be: the guest is up by what it told nspawn.
system_state() {
    _tries=10
    while :; do
        now
        [ "$now" -lt "$_until" ] || break
        _state=$(timeout -k 1 $((_until - now)) systemctl -M "$1" is-system-running --wait 2>&1 | first_words)
        case $_state in running | degraded) break ;; esac
        _tries=$((_tries - 1))
        [ "$_tries" != 0 ] || break
        sleep 0.5
    done
    [ -n "${_state-}" ] || _state=$(asked "$1" is-system-running 2>&1 | first_words)
    printf '%s\n' "${_state-}"
}

# unwritten NAME FILES: the first file that the guest was given and does not have, and why. systemd-tmpfiles, which writes
# them, takes an owner that it does not know and a path that it cannot write for a success (exit codes 65 and 73). A
# process of the guest looks. FILES is base64: lines MODE USER GROUP PATH.
unwritten() {
    [ -n "$2" ] || return 0
    {
        printf '%s\n' "$LOOK_FOR_FILES"
        printf '%s' "$2" | base64 -d | sed 's/^/look /'
    } | in_guest "$1" "Look for files" | sed -n '/^file /{p;q;}' | head -c 500 | printable
}

# shellcheck disable=SC2016 # for the guest's shell
LOOK_FOR_FILES='
look() { # MODE USER GROUP PATH
    if ! exists "$2" passwd; then why="it has no user $2"
    elif ! exists "$3" group; then why="it has no group $3"
    elif [ -L "$4" ]; then why="it is a link"
    elif ! [ -e "$4" ]; then why="it does not exist"
    elif ! [ -f "$4" ]; then why="it is no file"
    elif [ "$(stat -c %a "$4")" != "$1" ]; then why="its mode is $(stat -c %a "$4")"
    elif [ "$(owner "$2" U "$4")" != "$2" ]; then why="its owner is $(stat -c %U "$4")"
    elif [ "$(owner "$3" G "$4")" != "$3" ]; then why="its group is $(stat -c %G "$4")"
    else return
    fi
    echo "file $4 was not written: $why"
}
exists() { # NAME-OR-NUMBER DATABASE
    case $1 in *[!0-9]*) getent "$2" "$1" >/dev/null ;; esac
}
owner() { # NAME-OR-NUMBER U-OR-G PATH
    case $1 in *[!0-9]*) stat -c "%$2" "$3" ;; *) stat -c "%$(echo "$2" | tr UG ug)" "$3" ;; esac
}'

first_words() {
    head -c 200 | printable | head -n 1
}

# settle NAME: `running` is also what a guest says between two crashes of a unit that systemd starts again. Where there is
# such a unit, sets _said once nothing has changed for 3 s, or at $_until.
settle() {
    _last='' _calm=0 _first=$(restarts "$1")
    _seen=$_first
    while [ -n "$_seen" ]; do
        case $_seen in
        *!*) _calm=0 ;;
        "$_last") _calm=$((_calm + 1)) ;;
        *) _calm=0 ;;
        esac
        [ "$_calm" -lt 6 ] || break
        now
        [ "$now" -lt "$_until" ] || {
            _said=restarting _looping=$(looping "$_first" "$_seen")
            return
        }
        _last=$_seen
        sleep 0.5
        _seen=$(restarts "$1")
    done
    [ -z "$_last" ] || _said=$(asked "$1" is-system-running 2>&1 | first_words)
}

# looping BEFORE NOW: of what `restarts` said, the units that were restarted since, each with how often in all.
looping() {
    for _entry in $2; do
        case " $1" in
        *" $_entry "*) case $_entry in *!) ;; *) continue ;; esac ;;
        esac
        _times=${_entry##*=}
        printf '%s (restarted %s times)\n' "${_entry%=*}" "${_times%!}"
    done | head -n 5 | listed
}

# restarts NAME: each of its services that was restarted, UNIT=TIMES, with a `!` while it waits for its next start. The
# guest says what they are called: of a name nothing but what may be in one, for it stands in a hint that is pasted.
restarts() {
    asked "$1" show -p Id -p NRestarts -p SubState '*.service' 2>/dev/null | head -c "$GUEST_CAP" | {
        _id='' _times=0 _sub=''
        while IFS='=' read -r _key _text || [ -n "$_key" ]; do
            case $_key in
            Id) case $_text in *[!A-Za-z0-9:_.@-]*) _id=unit ;; *) _id=$_text ;; esac ;;
            NRestarts) case $_text in "" | *[!0-9]*) _times=0 ;; *) _times=$_text ;; esac ;;
            SubState) _sub=$_text ;;
            '')
                restarted "$_id" "$_times" "$_sub"
                _id='' _times=0 _sub=''
                ;;
            esac
        done
        restarted "$_id" "$_times" "$_sub"
    } | without_k3s "$1"
}

# without_k3s NAME: a k3s of ours that does not come up is its node's trouble: a guest that failed for it could not be
# given another.
without_k3s() {
    if [ -d "$state/$1/k3s" ]; then sed 's/^/ /; s/ k3s\.service=[0-9]*!* / /; s/^ //'; else cat; fi
}

restarted() { # UNIT TIMES SUB-STATE
    case $2/$3 in
    */auto-restart*) printf '%s=%s! ' "$1" "$2" ;;
    0/* | [!1-9]* | /*) ;;
    *) printf '%s=%s ' "$1" "$2" ;;
    esac
}

# units_of NAME STATE: at most five.
units_of() {
    all_units_of "$1" "$2" | tr ',' '\n' | head -n 5 | listed
}

# all_units_of NAME STATE: names of valid characters only, each followed by a comma.
all_units_of() {
    asked "$1" list-units --all --full --plain --no-legend --state="$2" 2>/dev/null | head -c "$GUEST_CAP" |
        sed -n 's/^\([A-Za-z0-9:_.@\\-]*\.[a-z]*\) .*/\1/p' | tr '\n' ','
}

listed() {
    tr '\n' ',' | sed 's/,$//; s/,/, /g'
}
