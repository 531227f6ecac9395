# shellcheck shell=sh
# OSTree sysroots: the host's own, in which `shared` guests lie beside the host, and the `private` ones of guests.

# open_sysroot: before a change below the host's own, which is read-only on most hosts: it is writable in the mount
# namespace of the program alone. Makes $state the path of our directory in the mount that holds the host's objects: a
# hard link cannot cross mounts (link(2), EXDEV), and /var is one of its own. Where it is another file system,
# or holds one, there is no such path, and ostree copies.
open_sysroot() {
    [ -w "$sysroot" ] || mount -o remount,bind,rw "$sysroot"
    _place=$state
    [ -e "$_place" ] || _place=${state%/*}
    for _var in "$sysroot"/ostree/deploy/*/var; do
        # shellcheck disable=SC3013 # not POSIX, but every sh in use has -ef
        # Only the host's own: in that of a guest, a link of its root could lead anywhere.
        if [ "$_var" -ef /var ] && [ "$_var${_place#/var}" -ef "$_place" ]; then
            state=$_var${state#/var}
            break
        fi
    done
}

# root_of KIND NAME: the sysroot that such a guest lies in.
root_of() {
    case $1 in
    private) echo "$state/$2" ;;
    shared) echo "$sysroot" ;;
    *) die "there is no kind of sysroot '$1'" "Use one version of pyinfra-nspawn." ;;
    esac
}

# admin SYSROOT ARGUMENT...: `ostree admin` there. The host's own is named by no option: `--sysroot=/sysroot`
# misleads ostree on a booted host (https://github.com/ostreedev/ostree/issues/2992).
admin() {
    _at=$1
    shift
    [ "$_at" = /sysroot ] || set -- --sysroot="$_at" "$@"
    ostree admin "$@"
}

# status SYSROOT: without the signatures where ostree can: it fails at a commit without the one that its remote
# demands (before 2025.3).
status() {
    learn_status
    case $status_help in
    *--skip-signatures*) admin "$1" status --skip-signatures ;;
    *) admin "$1" status ;;
    esac
}

# learn_status: sets status_help, by which this ostree's options are known. A change of
# sysroots calls it before its steps: it is learned once then.
learn_status() {
    : "${status_help=$(ostree admin status --help 2>/dev/null)}"
}

# entries SYSROOT: a line a deployment, in ostree's order: INDEX STATEROOT CHECKSUM.SERIAL MARKS. An older ostree that
# fails at a signature has printed those before it; what it printed counts.
entries() {
    _status=$(status "$1") || [ -n "$_status" ] || return
    printf '%s\n' "$_status" | {
        _index=-1 _entry=''
        while read -r _first _second _third _rest; do
            case $_first in
            '*') _marks='=booted' ;;
            Pinned:) [ "$_second" != yes ] || _entry=$_entry=pinned ;;
            *:) ;;
            *) _marks='=' _rest="$_third $_rest" _third=$_second _second=$_first ;;
            esac
            [ "$_first" = "${_first%:}" ] || continue
            is_deployment "$_third" || continue
            case $_rest in *"(staged)"*) _marks=$_marks=staged ;; esac
            [ -z "$_entry" ] || echo "$_entry"
            _index=$((_index + 1))
            _entry="$_index $_second $_third $_marks"
        done
        [ -z "$_entry" ] || echo "$_entry"
    }
}

is_deployment() { # WORD: CHECKSUM.SERIAL
    _checksum=${1%.*}
    is_commit "$_checksum" && case ${1#"$_checksum".} in "" | *[!0-9]*) false ;; esac
}

is_commit() { # WORD
    [ "${#1}" = 64 ] && case $1 in *[!0-9a-f]*) false ;; esac
}

# of NAME [COMMIT]: the guest's own of the entries on stdin. Names are compared whole: another's may end or begin like
# this one's, and a dot is no pattern.
of() {
    while read -r _index _stateroot _id _marks; do
        case $_stateroot/$_id in "$1/${2-}"*) echo "$_index $_stateroot $_id $_marks" ;; esac
    done
}

# added IDS: the entries on stdin, less these.
added() {
    while read -r _index _stateroot _id _marks; do
        case $NEWLINE$1$NEWLINE in
        *"$NEWLINE$_stateroot $_id$NEWLINE"*) ;;
        *) echo "$_index $_stateroot $_id $_marks" ;;
        esac
    done
}

# ids: the entries on stdin without what shifts.
ids() {
    sed 's/^[0-9]* //; s/ [^ ]*$//'
}

# deployed SYSROOT NAME [COMMIT]: the guest's first deployment, of that commit; nothing where there is none.
deployed() {
    _entries=$(entries "$1")
    printf '%s\n' "$_entries" | of "$2" "${3:+$3.}" | ids | sed -n '1s/.* //p'
}

# resolved SOURCE: the commit that it is in the host's repository: a commit, REF, or REMOTE:REF.
resolved() {
    if is_commit "$1"; then
        echo "$1"
    else
        ostree rev-parse --repo="$sysroot/ostree/repo" "$1" ||
            die "the host's repository has no $1" "Pull it with ostree, then run again."
    fi
}

# has_commit REPOSITORY COMMIT: whole.
has_commit() {
    _tail=${2#??}
    [ -e "$1/objects/${2%"$_tail"}/$_tail.commit" ] && [ ! -e "$1/state/$2.commitpartial" ]
}

# deploy_commit KIND NAME COMMIT: which the guest has no deployment of. --retain: a deployment that a guest runs
# on is nothing special to a sysroot that nothing is booted from.
deploy_commit() {
    if [ "$1" = private ]; then
        admin "$state/$2" deploy --os="$2" --karg-none --retain "$3"
    else
        deploy_beside "$2" "$3"
    fi
}

# deploy_beside NAME COMMIT: in the host's own sysroot. What the host boots, and in which order it would try the
# others, must be as before.
deploy_beside() {
    space "$1" "$2"
    _before=$(entries "$sysroot")
    _before=$(printf '%s\n' "$_before" | ids)
    admin "$sysroot" deploy --os="$1" --not-as-default --retain --karg-none "$2"
    _after=$(entries "$sysroot")
    _wanted=${_before%%"$NEWLINE"*} _new=$(printf '%s\n' "$_after" | of "$1" "$2." | added "$_before")
    if [ -n "$_wanted" ] && [ "$(printf '%s\n' "$_after" | ids | sed 1q)" != "$_wanted" ]; then
        note "the host would have booted guest $guest: its default is set back to $_wanted"
        set_default "$_wanted" "$_new" "$_after"
        _after=$(entries "$sysroot")
    fi
    [ "$(printf '%s\n' "$_after" | ids | grep -vxF "$(printf '%s\n' "$_new" | ids)")" = "$_before" ] ||
        note "the order of the host's boot entries has changed; it was $(printf '%s' "$_before" | tr '\n' ',')"
}

# set_default ENTRY NEW ENTRIES: of STATEROOT ID. An ostree without set-default (before 2023.6) takes back what it made.
set_default() {
    _index=$(printf '%s\n' "$3" | of "${1% *}" "${1#* }")
    admin "$sysroot" set-default "${_index%% *}" || admin "$sysroot" undeploy "${2%% *}"
    _default=$(entries "$sysroot")
    _default=$(printf '%s\n' "$_default" | ids | sed 1q)
    [ "$_default" = "$1" ] ||
        die "the host boots $_default next" "Run \`ostree admin set-default\` for $1 on the host."
}

# space NAME COMMIT: a stateroot has its kernel and initramfs in /boot; hard links, where that is no file system
# of its own.
space() {
    [ "$(stat -c %d "$boot")" != "$(stat -c %d "$sysroot/ostree")" ] || return 0
    _needed=$(kernel_kib "$sysroot/ostree/repo" "$2")
    [ -n "$_needed" ] || die "its commit has no kernel in /usr/lib/modules" "Set \`sysroot\` to 'private'."
    _free=$(free_kib "$boot")
    [ "$_free" -gt "$_needed" ] ||
        die "its kernel takes $((_needed / 1024)) MiB of /boot, which has $((_free / 1024)) left" \
            "Free some, or set \`sysroot\` to 'private'."
}

# kernel_kib REPOSITORY COMMIT: what its kernel and initramfs take, and a little more; nothing for a commit without.
kernel_kib() {
    # What `ostree ls` says of a file: MODE UID GID BYTES PATH.
    ostree ls --repo="$1" -R "$2" /usr/lib/modules 2>/dev/null | grep -E '/(vmlinuz|initramfs[^/]*)$' | {
        _kib=''
        while read -r _ _ _ _bytes _; do _kib=$((${_kib:-1024} + _bytes / 1024)); done
        echo "$_kib"
    }
}

free_kib() { # PATH
    df -Pk "$1" | sed -n '$s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p'
}

# undeploy KIND NAME: all deployments of the guest, with their kernels.
undeploy() {
    _root=$(root_of "$1" "$2")
    while :; do
        _before=$(entries "$_root")
        _last=$(printf '%s\n' "$_before" | of "$2" | tail -n 1)
        [ -n "$_last" ] || break
        undeploy_entry "$1" "$_root" "$_last" "$_before"
    done
    if [ "$1" = shared ]; then
        # Of an older ostree: what it does not list may be the guest's.
        status "$_root" >/dev/null
        admin "$_root" cleanup
        remove_kernels "$2"
    else
        admin "$_root" cleanup
    fi
}

# undeploy_entry KIND SYSROOT ENTRY ENTRIES: the indices shift after each, and rpm-ostree, bootc or an administrator may
# be at work upon the host's own: the entries were read just before, and must be the same but for this one just after.
undeploy_entry() {
    # shellcheck disable=SC2086
    set -- "$1" "$2" "$4" $3
    case $1/$7 in
    shared/*pinned* | shared/*booted* | shared/*staged*)
        die "deployment $6 of the host's /ostree is ${7##*=}" "Unpin it, or boot another; then run again."
        ;;
    esac
    await_ostree "$2"
    [ "$(entries "$2" | ids)" = "$(printf '%s\n' "$3" | ids)" ] || die_of_others "$2"
    admin "$2" undeploy "$4"
    _after=$(entries "$2")
    [ "$(printf '%s\n' "$_after" | ids)" = "$(printf '%s\n' "$3" | sed "$(($4 + 1))d" | ids)" ] ||
        die_of_others "$2"
}

die_of_others() { # SYSROOT
    die "the deployments in $1 were changed by somebody else meanwhile" "Look at \`ostree admin status\`, then run again."
}

# await_ostree SYSROOT: until nobody changes its deployments. `ostree admin undeploy` waits too, but takes its index from before.
await_ostree() {
    _lock=$(stat -c %i "$1/ostree/lock" 2>/dev/null) || return 0
    now
    _until=$((now + 120))
    while grep -q ":$_lock " /proc/locks 2>/dev/null; do
        now
        [ "$now" -lt "$_until" ] || die "another tool has been changing the deployments in $1 for 2 minutes" "Run again later."
        sleep 0.2
    done
}

# remove_kernels NAME: ostree keeps those of a stateroot without deployments as long as another stateroot has the same
# (its cleanup goes by the checksum alone).
remove_kernels() {
    [ -w "$boot" ] || mount -o remount,bind,rw "$boot"
    for _kernel in "$boot/ostree/$1"-*; do
        _checksum=${_kernel##*-}
        ! is_commit "$_checksum" || [ "$_kernel" != "$boot/ostree/$1-$_checksum" ] || rm -rf "$_kernel"
    done
}

# make_sysroot NAME [without-var]: a private sysroot with one stateroot. Its repository's config, which says that it
# is there, comes last.
make_sysroot() {
    _own=$state/$1
    own_directory "$1"
    if [ -e "$_own/ostree/repo/config" ]; then
        mkdir -p "$_own/ostree/deploy/$1" # of a move that was killed on its way out of it
        return
    fi
    _new=$_own/.sysroot.new
    rm -rf "$_new" "${_own:?}/boot"
    mkdir -m 0700 "$_new"
    admin "$_new" init-fs --modern "$_new"
    admin "$_new" os-init "$1"
    [ -z "${2-}" ] || rm -rf "$_new/ostree/deploy/$1/var"
    mv -T "$_new/boot" "$_own/boot"
    mv -T "$_new/ostree" "$_own/ostree"
    rmdir "$_new"
}

# claim NAME: the stateroot of that name in the host's sysroot is ours from now on.
claim() {
    own_directory "$1"
    [ -L "$state/$1/stateroot" ] || link "$sysroot/ostree/deploy/$1" "$state/$1/stateroot"
}

# make_stateroot NAME: in the host's sysroot, without a /var. The link that says whose it is comes before it. A guest's
# root can leave a setuid-root file in its /var: no user of the host may come by it.
make_stateroot() {
    _stateroot=$sysroot/ostree/deploy/$1
    [ -L "$state/$1/stateroot" ] || [ ! -e "$_stateroot" ] ||
        die "there is a stateroot $1 in the host's /ostree that is not ours" "Give the guest another name, or adopt it."
    claim "$1"
    [ -d "$_stateroot" ] || mkdir -m 0700 "$_stateroot"
    chmod 0700 "$_stateroot"
}
