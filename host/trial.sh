# shellcheck shell=sh
# A changed definition of a running guest: tried in /run, and kept only when the guest comes up with it. A unit of its own
# does it, which outlives the connection; a power cut on the way boots the old.

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

trial_runs() { # NAME
    case $(systemctl show --value -p ActiveState "pyinfra-nspawn-trial-$1.service") in
    active | activating | deactivating | reloading) ;;
    *) false ;;
    esac
}

# try NAME SECONDS ON_DEGRADED DIGEST FILES PROGRAM-BYTES BYTES: the program, then a line `trial BASE64` with the drop-in that
# it is tried with, then lines as `definition` has them.
try() {
    name=$1 digest=$4
    program=$(received "$6")
    sent=$(received "$7")
    recover "$name"
    if runs "$name" "$digest"; then
        verdict=$(judge "$1" "$2" "$3" "$5")
        case $verdict in
        healthy*)
            keep "$name" "$(printf '%s\n' "$sent" | sed 1d)"
            conclude "$name" "$verdict" ''
            return
            ;;
        esac
    fi
    result=changed
    prepare_trial
    unlock
    # shellcheck disable=SC2086 # none, or words
    systemd-run --quiet --collect --unit="pyinfra-nspawn-trial-$name" --property=Type=oneshot \
        --description="Try a changed definition of guest $name" \
        sh "$trial/program" ${roots:+--roots "$roots"} ${by:+--by "$by" --version "$version" --login "$login"} \
        trial "$name" "$2" "$3" "$digest" "$5" || :
    lock_again
    verdict=$(cat "$trial_verdict" || :)
    rm -f "$trial_verdict"
    if [ -z "$verdict" ]; then
        recover "$name"
        die "the trial of its changed definition was cut off" "Run again."
    fi
    by='' # the trial has recorded it
    journal=$(printf '%s\n' "$verdict" | sed 1,3d)
    conclude "$name" "$(printf '%s\n' "$verdict" | sed 3q)" "$journal"
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
    # shellcheck disable=SC2016 # for the shell that reads it
    printf '%s\nmain "$@"\n' "$program" | install_file 700 "$trial/program"
}

# trial NAME SECONDS ON_DEGRADED DIGEST FILES: in a unit of its own.
trial() {
    set -e
    guest=$1 verb=try result=changed
    unit=systemd-nspawn@$1.service
    trial_paths "$1"
    lock
    [ -e "$trial/payload" ] || exit 0
    trap 'trial_cut_off' EXIT
    : >"$trial/begun"
    systemctl stop "$unit"
    mkdir -p "${trial_dropin%/*}"
    sed -n '1s/^trial //p' "$trial/payload" | base64 -d | install_file 644 "$trial_dropin"
    systemctl daemon-reload
    begin "$unit"
    verdict=$(judge "$1" "$2" "$3" "$5")
    case $verdict in
    healthy*)
        : >"$trial/kept"
        sent=$(sed 1d "$trial/payload")
        printf '%s\n' "$verdict" | install_file 600 "$trial_verdict"
        keep "$1" "$sent"
        record changed "kept its changed definition"
        ;;
    *) go_back "$@" ;;
    esac
}

# A command of the trial failed: the guest must not stay down. What is to be kept is finished by the next run.
trial_cut_off() {
    trap - EXIT
    set +e
    [ -d "$trial" ] && [ ! -e "$trial/kept" ] || return
    back "$guest"
    rm -rf "$trial"
    record failed "was cut off; went back to the old definition"
}

# keep NAME LINES: the definition that the guest runs.
keep() {
    definition_directories "$1"
    install_files "$2"
    if is_tried "$1" || [ "$result" = changed ]; then
        end_trial "$1"
    fi
    rm -f "$state/$1/refused"
    rm -rf "$trial"
}

end_trial() { # NAME
    trial_paths "$1"
    rm -f "$trial_dropin" "${trial_dropin%/*}/.55-trial.conf.new"
    rmdir "${trial_dropin%/*}" 2>/dev/null || :
    systemctl daemon-reload
}

# go_back NAME SECONDS ON_DEGRADED DIGEST: to the definition that the guest ran before. The one that was refused is not
# tried again until it is another.
go_back() {
    journal=$(journal_of "$1")
    echo "$4" | install_file 600 "$state/$1/refused"
    back "$1"
    now_runs=$(judge "$1" "$2" report)
    problem=${verdict#*"$NEWLINE"}
    hint=${problem#*"$NEWLINE"} problem=${problem%%"$NEWLINE"*}
    case $now_runs in
    healthy*) problem="with its changed definition: $problem; it went back to the old" ;;
    *)
        now_runs=${now_runs#*"$NEWLINE"}
        problem="with its changed definition: $problem; with the old, to which it went back: ${now_runs%%"$NEWLINE"*}"
        ;;
    esac
    record failed "went back to the old definition"
    printf 'failed\n%s\n%s\n%s\n' "$problem" "$hint" "$journal" | install_file 600 "$trial_verdict"
    rm -rf "$trial"
}

back() { # NAME
    systemctl stop "systemd-nspawn@$1.service"
    end_trial "$1"
    begin "systemd-nspawn@$1.service"
}

# recover NAME: finish or undo a trial that was interrupted; one that runs is awaited, without the lock, which it takes.
recover() {
    while trial_runs "$1"; do
        unlock
        sleep 0.5
        lock_again
    done
    is_tried "$1" || return 0
    result=changed
    if [ -e "$trial/kept" ]; then
        sent_then=$(sed 1d "$trial/payload")
        keep "$1" "$sent_then"
    elif [ -e "$trial/begun" ] || [ ! -d "$trial" ]; then
        back "$1"
    fi
    rm -rf "$trial" "${trial_verdict%/*}/.$1.new"
}

# abandon NAME: of a guest that is removed.
abandon() {
    systemctl stop "pyinfra-nspawn-trial-$1.service" 2>/dev/null || :
    trial_paths "$1"
    rm -rf "$trial_dropin" "$trial" "$trial_verdict"
    rmdir "${trial_dropin%/*}" 2>/dev/null || :
}
