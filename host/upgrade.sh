# shellcheck shell=sh
# A guest's commit: moved by a trial (trial.sh), and back where the guest does not come up, or at the administrator's word.
#
# What is tried becomes `current` once it is kept; `fallback` then names the deployment that ran before. `refused-commits` has a line
# `COMMIT PROBLEM` for each commit that is not tried again; `upgraded` says when, for how long the guest was down, and to which commit.
# Of a trial, `commit` holds `KIND deploy COMMIT` or `KIND boot DEPLOYMENT`, `before` the deployment that ran, `known` those that
# existed; `forward` says that a rollback goes forward again.

# upgrade NAME SECONDS ON_DEGRADED DIGEST FILES KIND COMMIT PROGRAM-BYTES BYTES: the payload as of `try`.
upgrade() {
    commit=$7
    begin_commit "$1" "$6" "$8" "$9"
    case $before in "$commit".*) return 0 ;; esac # another run has done it
    repo=$root/ostree/repo
    has_commit "$repo" "$commit" || die "its sysroot lacks commit $commit" "Run again."
    [ "$kind" = private ] || space "$name" "$commit"
    enough_space "$root" "$commit"
    hold "$repo" "$name" "$commit"
    put_first "$kind" "$name" "$root" "$before"
    try_commit "$kind deploy $commit" "$@"
}

# rollback NAME SECONDS ON_DEGRADED DIGEST FILES KIND DEPLOYMENT PROGRAM-BYTES BYTES: to a deployment that exists, with its /etc.
rollback() {
    target=$7
    begin_commit "$1" "$6" "$8" "$9"
    [ "$before" != "$target" ] || return 0
    [ -d "$root/ostree/deploy/$name/deploy/$target" ] || die "it has no deployment $target any more" "Run again."
    ! grep -qs "^${target%.*} " "$state/$name/refused-commits" || forward=yes
    try_commit "$kind boot $target" "$@"
}

# begin_commit NAME KIND PROGRAM-BYTES BYTES: sets name, kind, program, sent, root, before and forward, once no trial is under way.
begin_commit() {
    name=$1 kind=$2 forward=no plain_state=$state
    program=$(received "$3")
    sent=$(received "$4")
    recover "$name"
    open_sysroot
    root=$(root_of "$kind" "$name")
    before=$(chosen "$name")
}

# DEPLOYMENT_KIB: what a deployment takes beside its kernel: directories, links and an /etc.
DEPLOYMENT_KIB=65536

# enough_space SYSROOT COMMIT: for a deployment of a commit that was pulled. The guest still runs.
enough_space() {
    _needed=$(kernel_kib "$1/ostree/repo" "$2")
    _needed=$((${_needed:-0} + DEPLOYMENT_KIB))
    _free=$(free_kib "$1/ostree")
    [ "$_free" -le "$_needed" ] || return 0
    _has=$(entries "$1" | of "$name" | while read -r _ _ _id _; do printf ' %.12s' "$_id"; done)
    die "a deployment takes up to $((_needed / 1024)) MiB, and $1 has $((_free / 1024)) left" \
        "Free some, or keep fewer deployments by \`keep\` and \`pinned\`; it has$_has."
}

# try_commit WHAT NAME SECONDS ON_DEGRADED DIGEST FILES...
try_commit() {
    result=changed
    _what=$1
    shift
    ! wants_snapshot "$sent" || can_snapshot "$root/ostree/deploy/$name"
    # The trial runs outside this mount namespace.
    state=$plain_state
    prepare_trial
    [ "$forward" = no ] || : >"$trial/forward"
    echo "$before" >"$trial/before"
    echo "$_what" >"$trial/commit"
    run_trial "$1" "$2" "$3" "$4" "$5"
}

wants_snapshot() { # PAYLOAD
    case $NEWLINE$1$NEWLINE in *"${NEWLINE}snapshot$NEWLINE"*) ;; *) false ;; esac
}

# can_snapshot STATEROOT: fails where files cannot share their blocks; the guest still runs.
can_snapshot() {
    settle_snapshots "$1"
    shares_blocks "$1" ||
        die "the file system of its /var cannot share blocks, as \`snapshot\` needs" "Set \`snapshot\` to False, or use btrfs or xfs."
}

shares_blocks() { # STATEROOT
    echo shared >"$1/.var.one"
    _shared=no
    ! cp --reflink=always "$1/.var.one" "$1/.var.two" 2>/dev/null || _shared=yes
    rm -f "$1/.var.one" "$1/.var.two"
    [ "$_shared" = yes ]
}

# settle_snapshots STATEROOT: remove unneeded and interrupted copies.
settle_snapshots() {
    [ -e "$1/var.before" ] || [ ! -e "$1/.var.old" ] || mv -T "$1/.var.old" "$1/var.before"
    rm -rf --one-file-system "${1:?}"/.var.*
}

# snapshot_var STATEROOT: of a guest that is down. The one of before is removed once the guest is up again.
snapshot_var() {
    # A file that is not to be shared (chattr +C, as journald has it on btrfs) is copied.
    cp -a --reflink=auto "$1/var" "$1/.var.new"
    [ ! -e "$1/var.before" ] || mv -T "$1/var.before" "$1/.var.old"
    mv -T "$1/.var.new" "$1/var.before"
}

# hold REPOSITORY NAME COMMIT: each undeployment removes the commits that no ref and no deployment has (ostree's cleanup).
hold() {
    ostree refs --repo="$1" --force --create="pyinfra-nspawn/$2" "$3"
}

let_go() { # REPOSITORY NAME
    [ ! -e "$1/refs/heads/pyinfra-nspawn/$2" ] || ostree refs --repo="$1" --delete "pyinfra-nspawn/$2"
}

chosen() { # NAME
    _chosen=$(readlink "$state/$1/current")
    echo "${_chosen##*/}"
}

# put_first KIND NAME SYSROOT DEPLOYMENT: ostree merges the /etc of the first deployment of a stateroot into the next one. In the
# host's sysroot `set-default` would have the host boot the guest, and before 2023.6 there is none: what precedes is undeployed.
put_first() {
    _settable=$1
    while :; do
        _before=$(entries "$3")
        _first=$(printf '%s\n' "$_before" | of "$2" | sed 1q)
        case $_first in
        *" $4 "*) return 0 ;;
        '') die "it has no deployment $4 any more" "Run again." ;;
        esac
        result=changed
        _entry=$(printf '%s\n' "$_before" | of "$2" "$4" | grep -F " $4 ") || die "it has no deployment $4 any more" "Run again."
        if [ "$_settable" = private ]; then
            _settable=no
            admin "$3" set-default "${_entry%% *}" >/dev/null 2>&1 || :
        else
            case $_first in *=pinned*) die "a pinned deployment comes before the one that it boots" "Unpin it, then run again." ;; esac
            undeploy_entry "$1" "$3" "$_first" "$_before"
        fi
        [ -e "$state/$2/fallback" ] || rm -f "$state/$2/fallback"
    done
}

# deploy_tried NAME: has $trial/current point at what is tried.
deploy_tried() {
    read -r _kind _how _what <"$trial/commit"
    # The path that its unit may write to.
    _own=$(root_of "$_kind" "$1")
    open_sysroot
    _root=$(root_of "$_kind" "$1")
    if [ "$_how" = deploy ]; then
        entries "$_root" >"$trial/entries"
        of "$1" <"$trial/entries" | ids | sed 's/.* //' >"$trial/.known"
        mv "$trial/.known" "$trial/known" # whole, or not at all
        [ "$(sed 1q "$trial/known")" = "$(cat "$trial/before")" ] ||
            die "the deployments of its sysroot were changed by somebody else" "Run again."
        deploy_commit "$_kind" "$1" "$_what"
        _id=$(new_deployments "$1" "$_root" "$_what" | sed 1q)
        let_go "$_root/ostree/repo" "$1"
        [ -n "$_id" ] || die "ostree made no deployment of $_what" "Run \`ostree admin status\` on the host."
    else
        _id=$_what
    fi
    # No `||`: within it the copy would not end at an error.
    if wants_snapshot "$(cat "$trial/payload")"; then snapshot_var "$_root/ostree/deploy/$1"; fi
    link "$_own/ostree/deploy/$1/deploy/$_id" "$trial/current"
}

# new_deployments NAME SYSROOT COMMIT: of that commit, less those that the trial found.
new_deployments() {
    _now=$(entries "$2")
    [ ! -e "$trial/known" ] || printf '%s\n' "$_now" | of "$1" "$3." | ids | sed 's/.* //' | grep -vxFf "$trial/known" || :
}

# forget_tried NAME: undeploys what a trial deployed that is not kept. In a shell of its own: it makes $state another path.
forget_tried() (
    [ -e "$trial/commit" ] || return 0
    read -r _kind _ _what <"$trial/commit"
    open_sysroot
    _root=$(root_of "$_kind" "$1")
    settle_snapshots "$_root/ostree/deploy/$1"
    let_go "$_root/ostree/repo" "$1"
    _made=$(new_deployments "$1" "$_root" "$_what")
    for _id in $_made; do
        undeploy_one "$_kind" "$1" "$_root" "$_id"
    done
    # A tree that ostree did not finish is in no list.
    [ ! -e "$trial/known" ] || [ -n "$_made" ] || admin "$_root" cleanup
)

# undeploy_one KIND NAME SYSROOT DEPLOYMENT
undeploy_one() {
    _before=$(entries "$3")
    _entry=$(printf '%s\n' "$_before" | of "$2" "$4" | grep -F " $4 " || :)
    [ -z "$_entry" ] || undeploy_entry "$1" "$3" "$_entry" "$_before"
}

# keep_commit NAME: boots what was tried from now on.
keep_commit() {
    read -r _kind _how _ <"$trial/commit"
    _old=$(cat "$trial/before")
    _new=$(readlink "$trial/current")
    _new=${_new##*/}
    # First: after a power cut nothing else names it.
    link "$(deployment_path "$1" "$_kind" "$_old")" "$state/$1/fallback"
    choose "$1" "$_kind" "$_new"
    printf '%s %s %s\n' "$(date +%s)" "$(downtime)" "${_new%.*}" | install_file 600 "$state/$1/upgraded"
    if [ "$_how" = boot ] && [ ! -e "$trial/forward" ]; then
        refuse_commit "$1" "${_old%.*}" "it was rolled back"
    else
        accept_commit "$1" "${_new%.*}"
    fi
    sync -f "$state/$1"
    settle_snapshots_of "$1" "$_kind"
}

settle_snapshots_of() ( # NAME KIND
    open_sysroot
    settle_snapshots "$(root_of "$2" "$1")/ostree/deploy/$1"
)

tried_commit() { # NAME
    read -r _ _ _what <"$trial/commit"
    echo "${_what%.*}"
}

# REFUSED_COMMITS: how many are remembered of a guest, the latest.
REFUSED_COMMITS=8

refuse_commit() { # NAME COMMIT PROBLEM
    _others=$(other_refusals "$1" "$2")
    printf '%s\n' "${_others:+$_others$NEWLINE}$2 $3" | tail -n "$REFUSED_COMMITS" | install_file 600 "$state/$1/refused-commits"
    sync -f "$state/$1"
}

accept_commit() { # NAME COMMIT
    _others=$(other_refusals "$1" "$2")
    if [ -n "$_others" ]; then
        printf '%s\n' "$_others" | install_file 600 "$state/$1/refused-commits"
    else
        rm -f "$state/$1/refused-commits"
    fi
}

other_refusals() { # NAME COMMIT
    grep -sv "^$2 " "$state/$1/refused-commits" || :
}

uptime_centiseconds() {
    read -r _seconds _ </proc/uptime
    echo "${_seconds%.*}${_seconds#*.}"
}

# downtime: centiseconds from the stop of a tried guest until it was healthy.
downtime() {
    echo $(($(cat "$trial/up") - $(cat "$trial/stopped")))
}

# upgraded_note NAME VERDICT: for how long the guest was down, after what the verdict says already.
upgraded_note() {
    [ -e "$trial/commit" ] || return 0
    _down=$(downtime)
    case $2 in *"$NEWLINE"*) _after='; ' ;; *) _after=$NEWLINE ;; esac
    printf '%sruns commit %.12s, was down for %d.%02d s' "$_after" "$(basename "$(readlink "$trial/current")")" \
        $((_down / 100)) $((_down % 100))
}

# prune NAME KIND DEPLOYMENT...: undeploys those of these that exist; none that the guest boots, falls back to or runs.
prune() {
    name=$1 kind=$2
    shift 2
    open_sysroot
    root=$(root_of "$kind" "$name")
    is_tried "$name" || let_go "$root/ostree/repo" "$name" # of an upgrade that was cut off before its trial
    for _id; do
        refuse_needed "$_id"
        [ -d "$root/ostree/deploy/$name/deploy/$_id" ] || continue
        result=changed
        undeploy_one "$kind" "$name" "$root" "$_id"
    done
}

refuse_needed() { # DEPLOYMENT
    for _link in current fallback; do
        _path=$(readlink "$state/$name/$_link" || :)
        [ "${_path##*/}" != "$1" ] || die "its $_link deployment is $1 by now" "Run again."
    done
    _leader=$(machinectl show --value -p Leader "$name" 2>/dev/null || :)
    ! grep -qsF "/$1/etc /etc " "/proc/${_leader:-none}/mountinfo" || die "it runs deployment $1" "Run again."
}
