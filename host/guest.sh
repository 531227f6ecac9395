# shellcheck shell=sh
# A guest's sysroot, what it boots, and its definition.

# stateroot NAME KIND: whole or not at all, with the /var that `ostree admin os-init` gives it.
stateroot() {
    open_sysroot
    remove_left "$1"
    _target=$(root_of "$2" "$1")/ostree/deploy/$1
    if [ "$2" = private ]; then
        [ ! -e "$state/$1/ostree/repo/config" ] || [ ! -d "$_target/var" ] || return 0
        result=changed
        make_sysroot "$1"
        mkdir -p "$_target/var" # of a move that was killed on its way out of it
    else
        [ ! -L "$state/$1/stateroot" ] || [ ! -d "$_target/var" ] || return 0
        result=changed
        make_stateroot "$1"
        [ ! -e "$_target/var" ] || return 0
        # With deployments in it, it is that of a restore that was interrupted.
        if rmdir "$_target" 2>/dev/null; then
            admin "$sysroot" os-init "$1"
            chmod 0700 "$_target"
        else
            mkdir "$_target/var"
        fi
    fi
}

# pull NAME KIND REMOTE COMMIT-OR-REF: into the repository of the guest's sysroot; where REMOTE is given, first from there
# into the host's.
pull() {
    name=$1 kind=$2 remote=$3 wanted=$4
    open_sysroot
    repo=$sysroot/ostree/repo
    if [ -n "$remote" ] && ! { is_commit "$wanted" && has_commit "$repo" "$wanted"; }; then
        result=changed
        pull_from "$remote" "$wanted"
    fi
    [ "$kind" = private ] || return 0
    is_commit "$wanted" || [ -z "$remote" ] || wanted=$remote:$wanted
    commit=$(resolved "$wanted")
    ! has_commit "$state/$name/ostree/repo" "$commit" || return 0
    result=changed
    ostree pull-local --repo="$state/$name/ostree/repo" "$repo" "$commit"
}

# pull_from REMOTE COMMIT-OR-REF: into the host's repository. Of a remote of ours only its own keys count: ostree takes those of
# /usr/share/ostree/trusted.gpg.d for any remote, and what `ostree remote gpg-import` has left.
pull_from() {
    _keys=''
    if is_ours "$etc/ostree/remotes.d/$1.conf"; then
        _keys=$run/pyinfra-nspawn/no-keys
        [ ! -e "$repo/$1.trustedkeys.gpg" ] ||
            die "the host has other keys of remote $1: $repo/$1.trustedkeys.gpg" "Move that file away, then run again."
    fi
    if [ -n "$_keys" ]; then
        OSTREE_GPG_HOME=$_keys ostree pull --repo="$repo" "$1" "$2"
    else
        ostree pull --repo="$repo" "$1" "$2"
    fi
}

# pulled: how many bytes the host's repository has of a pull that goes on or was interrupted. ostree gathers the objects in a directory
# of this boot until it has all. Not a fact: those wait for the change that pulls.
pulled() {
    _bytes=$(du -bcs "$sysroot/ostree/repo/tmp"/staging-* 2>/dev/null | tail -n 1)
    value pulled "${_bytes%%"$TAB"*}"
    echo ":: done"
}

# deploy NAME KIND SOURCE: unless there is a deployment of it; a second one of a commit is no repair.
deploy() {
    name=$1 kind=$2
    open_sysroot
    commit=$(resolved "$3")
    root=$(root_of "$kind" "$name")
    found=$(deployed "$root" "$name" "$commit")
    if [ -z "$found" ]; then
        result=changed
        mkdir -p "$root/ostree/deploy/$name/var" # without one, of a run that was killed, ostree deploys nothing
        deploy_commit "$kind" "$name" "$commit"
        found=$(deployed "$root" "$name" "$commit")
    fi
    entries=$(entries "$root")
    [ -L "$state/$name/current" ] || [ "$(printf '%s\n' "$entries" | of "$name" | wc -l)" != 1 ] ||
        own_identity "$root/ostree/deploy/$name/deploy/$found/etc"
}

# own_identity ETC: of a guest's first deployment, which was not booted yet, so that this /etc is the commit's. What a
# commit has baked in would be shared by all guests made of it; systemd takes it before what nspawn says. Later
# deployments get the guest's own, merged by ostree.
own_identity() {
    if [ -s "$1/machine-id" ] && grep -qxE '[0-9a-f]{32}' "$1/machine-id"; then
        result=changed
        # Not `uninitialized` but empty: that would be a first boot, which enables every unit (machine-id(5)).
        install_file 444 "$1/machine-id" </dev/null
    fi
    ! exists "$1/hostname" || {
        result=changed
        rm -f "$1/hostname"
    }
}

# current NAME KIND SOURCE: the guest boots that from now on; with the source `guest` what ostree lists first.
current() {
    name=$1 kind=$2 commit=''
    open_sysroot
    [ "$3" = guest ] || commit=$(resolved "$3")
    root=$(root_of "$kind" "$name")
    found=$(deployed "$root" "$name" "$commit")
    [ -d "$root/ostree/deploy/$name/deploy/${found:-none}" ] ||
        die "it has no deployment of ${commit:-its own} in $root" "Run again."
    choose "$name" "$kind" "$found"
}

# choose NAME KIND DEPLOYMENT: links `current` to it. A private sysroot lies beside the link.
choose() {
    _target=$(deployment_path "$1" "$2" "$3")
    [ "$(readlink "$state/$1/current")" != "$_target" ] || return 0
    result=changed
    link "$_target" "$state/$1/current"
}

# deployment_path NAME KIND DEPLOYMENT: as a link in the guest's directory names it.
deployment_path() {
    case $2 in
    private) echo "ostree/deploy/$1/deploy/$3" ;;
    shared) echo "$sysroot/ostree/deploy/$1/deploy/$3" ;;
    esac
}

# definition NAME RELOAD BYTES: writes the files that were sent, lines `MODE PATH BASE64`, and removes `- PATH`.
definition() {
    name=$1
    sent=$(received "$3")
    definition_directories "$name"
    remove_left "$name"
    install_files "$sent"
    [ "$2" != reload ] || reload "systemd-nspawn@$name.service"
}

# definition_directories NAME: without what a run that was killed has left, secrets among it.
definition_directories() {
    own_directory "$1"
    _credentials=$state/$1/credentials
    [ -d "$_credentials" ] || mkdir -m 0700 "$_credentials"
    chown 0:0 "$_credentials"
    chmod 0700 "$_credentials"
    rm -f "$_credentials"/.*.new "$state/$1"/.current.new "$state/$1"/.fallback.new "$state/$1"/.refused.new "$state/$1"/.refused-commits.new \
        "$state/$1"/.upgraded.new "$state/$1"/.stateroot.new "$state/$1"/.restoring.new "$state/$1"/.restored.new \
        "$state/$1"/.disk-limit.new \
        "$etc/systemd/system/systemd-nspawn@$1.service.d"/.*.new
}

# install_files LINES: what is like that already is left alone.
install_files() {
    while read -r mode path content; do
        case $mode in
        '') ;;
        -)
            ! exists "$path" || result=changed
            rm -f "$path"
            ;;
        *)
            has_file "$mode" "$path" "$content" || {
                result=changed
                refuse_foreign "$path"
                printf '%s' "$content" | base64 -d | install_file "$mode" "$path"
            }
            ;;
        esac
    done <<EOF
$1
EOF
}

# refuse_foreign PATH: what is in its place must be ours. Makes the directory of a file in /etc.
refuse_foreign() {
    case $1 in "$etc"/*) ;; *) return 0 ;; esac
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0755 "${1%/*}"
    ! exists "$1" || is_ours "$1" ||
        die "$1 is not ours" "Move it away, or give the guest another name."
}

# reload UNIT: where systemd has not read what is there.
reload() {
    if [ "$result" = changed ] || [ "$(systemctl show --value -p NeedDaemonReload "$1")" != no ]; then
        result=changed
        systemctl daemon-reload
    fi
}

# adopt NAME DEPLOYMENT PATH...: what somebody else defined of the guest is moved aside. With DEPLOYMENT its stateroot in
# the host's sysroot is ours from now on, and it boots that. What shows that it is not ours goes last.
adopt() {
    name=$1 deployment=$2
    shift 2
    open_sysroot
    if [ -n "$deployment" ]; then
        root=$sysroot/ostree/deploy/$name
        [ -d "$root/deploy/$deployment" ] || die "there is no $root/deploy/$deployment any more" "Run again."
        chmod 0700 "$root"
        claim "$name"
        choose "$name" shared "$deployment"
    fi
    for path; do
        exists "$path" || continue
        aside=$path.before-pyinfra-nspawn
        ! exists "$aside" || die "$aside exists already" "Move it away, then run again."
        result=changed
        mv -T "$path" "$aside"
    done
    reload "systemd-nspawn@$name.service"
}

# remove NAME PURGE: the guest's unit, files and deployments, in whatever sysroot; with `purge` its /var too. What
# shows that there is something left to remove goes last.
remove() {
    name=$1 purge=$2 unit=systemd-nspawn@$1.service
    refuse_rescued "$name"
    result=changed
    open_sysroot
    own=$state/$name
    ! is_tried "$name" || abandon "$name"
    backup_paths "$name"
    rm -rf "$backup"
    lift_disk_limit "$name"
    systemctl disable --now "$unit"
    for path in "$etc/systemd/nspawn/$name.nspawn" "$etc/systemd/system/$unit.d"/*.conf; do
        ! is_ours "$path" || rm "$path"
    done
    rmdir "$etc/systemd/system/$unit.d" 2>/dev/null || :
    systemctl daemon-reload
    systemctl reset-failed "$unit" 2>/dev/null || :
    rm -rf --one-file-system "$run/pyinfra-nspawn/mounts/$name"

    if [ -L "$own/stateroot" ]; then
        let_go "$sysroot/ostree/repo" "$name"
        undeploy shared "$name"
        [ "$purge" != purge ] || rm -rf --one-file-system "$sysroot/ostree/deploy/$name"
    fi
    [ ! -e "$own/ostree/repo/config" ] || undeploy private "$name"
    k3s_unplace "$name"
    for _root in "$own" "$sysroot"; do
        _path=$_root/ostree/deploy/$name
        rm -rf --one-file-system "$_path/.restored" "$_path/.restored.new" "$_path/.backup"
    done
    rm -rf "$own/credentials" "$own/refused" "$own/refused-commits" "$own/unwritten" "$own/upgraded" "$own/fallback" "$own/restored" \
        "$own/current"
    rm -f "$own/restoring" "$own/.joined"
    [ "$purge" != purge ] || rm -rf --one-file-system "$own"
}

# disk_limit NAME KIND PROJECT KIB: how much the files of that project may take, which the guest's /var and /etc belong to once its
# unit has started; 0 for no limit. The record is written first, so that an interrupted change can be lifted.
disk_limit() {
    own_directory "$1"
    recorded_limit "$1"
    [ "${_kind:=$2}" = "$2" ] || lift_disk_limit "$1"
    result=changed
    record_limit "$1" "$2" "$3" 0
    set_quota "$1" "$2" "$3" "$4"
    if [ "$4" = 0 ]; then rm -f "$state/$1/disk-limit"; else record_limit "$1" "$2" "$3" "$4"; fi
}

record_limit() { # NAME KIND PROJECT KIB
    echo "$3 $2 $4" | install_file 644 "$state/$1/disk-limit"
    sync -f "$state/$1/disk-limit"
}

# recorded_limit NAME: sets _project and _kind; empty where a power cut has emptied the record, or there is none.
recorded_limit() {
    _project='' _kind=''
    [ ! -s "$state/$1/disk-limit" ] || read -r _project _kind _ <"$state/$1/disk-limit"
}

lift_disk_limit() { # NAME
    recorded_limit "$1"
    [ -z "$_kind" ] || set_quota "$1" "$_kind" "$_project" 0
    rm -f "$state/$1/disk-limit"
}

# set_quota NAME KIND PROJECT KIB: with an inode for each 16 KiB, as mke2fs makes them, but for small ones. Named by its device:
# setquota(8) does not know bind mounts. A host that has no quotas any more has none to lift.
set_quota() {
    case $2 in
    private) _path=$state/$1 ;;
    *) _path=$sysroot/ostree/deploy ;;
    esac
    _inodes=$(($4 / 16))
    [ "$4" = 0 ] || [ "$_inodes" -gt 65536 ] || _inodes=65536
    case $4,$(findmnt --noheadings --first-only --output OPTIONS --target "$_path"), in
    0,*,prjquota,*) have setquota || return 0 ;;
    0,*) return 0 ;;
    esac
    _device=$(findmnt --noheadings --first-only --nofsroot --output SOURCE --target "$_path")
    _used=$(repquota -Pn "$_device" | sed -n "s/^#$3 *[-+]* *\([0-9]*\) .*/\1/p")
    [ "$4" = 0 ] || [ "${_used:-0}" -lt "$4" ] ||
        die "its /var and /etc take $((_used / 1024)) MiB already" "Remove some of it, or raise \`disk_max\`."
    setquota -P "$3" 0 "$4" 0 "$_inodes" "$_device"
}
