# shellcheck shell=sh
# A change of a running guest that takes a restart: of its definition, or of its commit (upgrade.sh). It is tried in /run, and
# kept only when the guest comes up with it. A unit of its own does it, which outlives the connection; a power cut on the way
# boots the old.
#
# $trial holds what the trial needs: its payload, the program, `current` (a link to the deployment that is tried), the credentials;
# of a commit also `commit` and `before` (upgrade.sh). `begun` says that the guest was stopped, `kept` that it came up.
# The payload is a line `trial BASE64`, the drop-in to try it with; lines `check ...` (checks.sh); of a commit perhaps `snapshot`;
# then lines as `definition` has them.

# trial_paths NAME: sets trial, trial_dropin and trial_verdict.
trial_paths() {
    trial=$run/pyinfra-nspawn/trial/$1
    trial_dropin=$run/systemd/system/systemd-nspawn@$1.service.d/55-trial.conf
    trial_verdict=$run/pyinfra-nspawn/verdict/$1
}

is_tried() { # NAME
    trial_paths "$1"
    [ -d "$trial" ] || [ -e "$trial_dropin" ]
}

# runs_apart KIND NAME: whether such a unit of the guest is at work (run_apart).
runs_apart() {
    case $(systemctl show --value -p ActiveState "pyinfra-nspawn-$1-$2.service") in
    active | activating | deactivating | reloading) ;;
    *) false ;;
    esac
}

# await_apart KIND NAME: without the lock, which it takes.
await_apart() {
    while runs_apart "$1" "$2"; do
        unlock
        sleep 0.5
        lock_again
    done
}

# try NAME SECONDS ON_DEGRADED DIGEST FILES PROGRAM-BYTES BYTES: a changed definition.
try() {
    name=$1 digest=$4
    program=$(received "$6")
    sent=$(received "$7")
    recover "$name"
    if runs "$name" "$digest"; then
        verdict=$(judge "$1" "$2" "$3" "$5")
        case $verdict in
        healthy*)
            keep "$name" "$(printf '%s\n' "$sent" | definition_lines)"
            conclude "$name" "$verdict" ''
            return
            ;;
        esac
    fi
    result=changed
    prepare_trial
    link "$state/$name/current" "$trial/current"
    run_trial "$1" "$2" "$3" "$digest" "$5"
}

# run_trial NAME SECONDS ON_DEGRADED DIGEST FILES: in its unit; reports its verdict.
run_trial() {
    run_apart trial "$trial" "Try a change of guest $name" "$@"
    if [ -z "$verdict" ]; then
        recover "$name"
        die "the trial of its change was cut off" "Run again."
    fi
    report_verdict
}

# run_apart KIND DIRECTORY DESCRIPTION NAME WORD...: run the program in DIRECTORY in mode KIND, in a unit that outlives the connection
# and takes the lock itself; in mode KIND-end after it, however it ends. Sets verdict to the one that it leaves; empty where it was interrupted.
run_apart() {
    _kind=$1 _directory=$2 _description=$3
    shift 3
    rm -f "$run/pyinfra-nspawn/verdict/$1"
    unlock
    # ExecStopPost waits for the lock.
    # shellcheck disable=SC2086 # none, or words
    systemd-run --quiet --collect --unit="pyinfra-nspawn-$_kind-$1" --property=Type=oneshot --property=PrivateMounts=yes \
        --property=TimeoutStopSec=infinity \
        --property="ExecStopPost=-/bin/sh -c 'test ! -e $_directory/program || exec sh $_directory/program $_kind-end $1'" \
        --description="$_description" \
        sh "$_directory/program" ${roots:+--roots "$roots"} ${by:+--by "$by" --version "$version" --login "$login"} \
        "$_kind" "$@" || :
    lock_again
    verdict=$(cat "$run/pyinfra-nspawn/verdict/$1" || :)
    rm -f "$run/pyinfra-nspawn/verdict/$1"
}

report_verdict() {
    by='' # the unit has recorded it
    journal=$(printf '%s\n' "$verdict" | sed 1,3d)
    conclude "$name" "$(printf '%s\n' "$verdict" | sed 3q)" "$journal"
}

# install_program PATH: what runs apart.
install_program() {
    # shellcheck disable=SC2016 # for the shell that reads it
    printf '%s\nmain "$@"\n' "$program" | install_file 700 "$1"
}

definition_lines() {
    grep -v '^trial \|^check \|^snapshot$' || :
}

# What the trial needs, secrets among it: 0600 in directories 0700, gone at its end.
prepare_trial() {
    trial_paths "$name"
    rm -rf "$trial" "$trial_verdict"
    (
        umask 077
        mkdir -p "$run/pyinfra-nspawn/verdict" "$trial/credentials"
        [ ! -d "$state/$name/credentials" ] || cp -a "$state/$name/credentials/." "$trial/credentials/"
    )
    printf '%s\n' "$sent" | while read -r mode path content; do
        case $mode/$path in
        -/"$state/$name/credentials"/*) rm -f "$trial/credentials/${path##*/}" ;;
        */"$state/$name/credentials"/*)
            printf '%s' "$content" | base64 -d | install_file "$mode" "$trial/credentials/${path##*/}"
            ;;
        esac
    done
    printf '%s\n' "$sent" | install_file 600 "$trial/payload"
    install_program "$trial/program"
}

# trial NAME SECONDS ON_DEGRADED DIGEST FILES: in a unit of its own.
trial() {
    set -e
    guest=$1 verb=try result=changed step='stop the guest'
    unit=systemd-nspawn@$1.service
    trial_paths "$1"
    what='its changed definition' old='the old definition'
    [ ! -e "$trial/commit" ] || about_a_commit "$1"
    lock
    [ -e "$trial/payload" ] || exit 0
    trap 'trial_cut_off' EXIT
    : >"$trial/begun"
    _on_degraded=$3
    [ ! -e "$trial/commit" ] || _on_degraded=known:$(all_units_of "$1" failed)
    uptime_centiseconds >"$trial/stopped"
    systemctl stop "$unit"
    if [ -e "$trial/commit" ]; then
        step='deploy its commit'
        deploy_said=$(deploy_tried "$1" 2>&1 3>/dev/null 7>&1)
    fi
    step='start the guest'
    mkdir -p "${trial_dropin%/*}"
    sed -n '1s/^trial //p' "$trial/payload" | base64 -d | install_file 644 "$trial_dropin"
    systemctl daemon-reload
    begin "$unit"
    verdict=$(judge_tried "$1" "$2" "$_on_degraded" "$5")
    case $verdict in
    healthy*)
        : >"$trial/kept"
        verdict=$verdict$(upgraded_note "$1" "$verdict")
        sent=$(definition_lines <"$trial/payload")
        printf '%s\n' "$verdict" | install_file 600 "$trial_verdict"
        keep "$1" "$sent"
        record changed "kept $what"
        ;;
    *) go_back "$@" ;;
    esac
}

# about_a_commit NAME: how the trial of a commit is recorded.
about_a_commit() {
    read -r _ _how _ <"$trial/commit"
    case $_how in deploy) verb=upgrade ;; *) verb=rollback ;; esac
    what="commit $(tried_commit "$1" | cut -c 1-12)" old='the old commit'
}

# judge_tried NAME SECONDS ON_DEGRADED FILES: a verdict upon a guest that is tried, by its own checks too.
judge_tried() {
    _verdict=$(judge "$@")
    uptime_centiseconds >"$trial/up"
    case $_verdict in
    healthy*)
        _met=$(checked "$1" "$trial/payload")
        case $_met in healthy*) _met=$(settled "$1" "$trial/payload" "$3" "$4") ;; esac
        case $_met in healthy*) ;; *) _verdict=$_met ;; esac
        ;;
    esac
    printf '%s\n' "$_verdict"
}

# A command of the trial failed: the guest must not stay down. What is to be kept is finished by the next run.
trial_cut_off() {
    trap - EXIT
    set +e
    [ -d "$trial" ] && [ ! -e "$trial/kept" ] || return
    [ -s "$trial_verdict" ] || trial_was_cut_off
    forget_tried "$guest"
    rm -rf "$trial"
    record failed "was cut off; went back to $old"
}

trial_was_cut_off() {
    back "$guest"
    _problem=$(printf '%s\n' "${deploy_said-}" | sed '/^$/d' | tail -n 1 | printable)
    printf 'failed\ncould not %s%s; it went back to the old\n%s\n' "$step" "${_problem:+: $_problem}" "$(hint "$_problem")" |
        install_file 600 "$trial_verdict"
}

# keep NAME LINES: what the guest runs.
keep() {
    definition_directories "$1"
    install_files "$2"
    trial_paths "$1"
    [ ! -e "$trial/commit" ] || keep_commit "$1"
    if is_tried "$1" || [ "$result" = changed ]; then
        end_trial "$1"
    fi
    [ -e "$trial/commit" ] || rm -f "$state/$1/refused"
    rm -rf "$trial"
}

end_trial() { # NAME
    trial_paths "$1"
    rm -f "$trial_dropin" "${trial_dropin%/*}/.55-trial.conf.new"
    rmdir "${trial_dropin%/*}" 2>/dev/null || :
    systemctl daemon-reload
}

# go_back NAME SECONDS ON_DEGRADED DIGEST: to what the guest ran before. What was refused is not tried again until it is
# another.
go_back() {
    journal=$(journal_of "$1")
    problem=${verdict#*"$NEWLINE"}
    hint=${problem#*"$NEWLINE"} problem=${problem%%"$NEWLINE"*}
    if [ -e "$trial/commit" ]; then
        tried="commit $(tried_commit "$1" | cut -c 1-12)"
        refuse_commit "$1" "$(tried_commit "$1")" "$problem"
    else
        tried="its changed definition"
        echo "$4" | install_file 600 "$state/$1/refused"
    fi
    back "$1"
    now_runs=$(judge "$1" "$2" report)
    case $now_runs in
    healthy*) problem="with $tried: $problem; it went back to the old" ;;
    *)
        now_runs=${now_runs#*"$NEWLINE"}
        problem="with $tried: $problem; with the old, to which it went back: ${now_runs%%"$NEWLINE"*}"
        ;;
    esac
    record failed "went back to $old"
    printf 'failed\n%s\n%s\n%s\n' "$problem" "$hint" "$journal" | install_file 600 "$trial_verdict"
    forget_tried "$1"
    rm -rf "$trial"
}

back() { # NAME
    stop_tried "systemd-nspawn@$1.service"
    end_trial "$1"
    begin "systemd-nspawn@$1.service"
    rm -f "$trial/begun"
}

# stop_tried UNIT: one that never came up has nothing to save, and may not hear that it is asked to stop; systemd would give it 90 s.
stop_tried() {
    case $(systemctl show --value -p ActiveState "$1") in
    active) systemctl stop "$1" ;;
    *)
        timeout "$ask_seconds" systemctl stop "$1" || {
            systemctl kill --signal=KILL "$1" || :
            systemctl stop "$1"
        }
        ;;
    esac
}

# trial_end NAME: after the end of a trial, by whatever end. One that was killed leaves no guest down.
trial_end() {
    set -e
    guest=$1 verb=recover old='what it ran before'
    trial_paths "$1"
    lock
    settle_trial "$1"
}

# recover NAME: finish or undo a trial that was interrupted; one that runs is awaited, without the lock, which it takes.
recover() {
    refuse_rescued "$1"
    await_apart trial "$1"
    settle_trial "$1"
}

settle_trial() { # NAME
    is_tried "$1" || return 0
    result=changed
    if [ -e "$trial/kept" ]; then
        sent_then=$(definition_lines <"$trial/payload")
        keep "$1" "$sent_then"
    else
        if [ -e "$trial/begun" ] || [ -e "$trial_dropin" ]; then back "$1"; fi
        forget_tried "$1"
    fi
    rm -rf "$trial" "${trial_verdict%/*}/.$1.new"
}

# abandon NAME: of a guest that is removed.
abandon() {
    trial_paths "$1"
    rm -f "$trial/program" # its ExecStopPost would wait for the lock that is held here
    systemctl stop "pyinfra-nspawn-trial-$1.service" 2>/dev/null || :
    rm -rf "$trial_dropin" "$trial" "$trial_verdict"
    rmdir "${trial_dropin%/*}" 2>/dev/null || :
}
