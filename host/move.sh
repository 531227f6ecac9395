# shellcheck shell=sh
# A guest into the other sysroot.

# move NAME KIND: with its /var, the deployment that it boots, and its /etc. It is stopped. Killed anywhere, a later run
# goes on, or back: /var is in one place or in the other, and `current` shows which /etc is the guest's.
move() {
    name=$1 to=$2
    refuse_rescued "$name"
    open_sysroot
    own=$state/$name
    chosen=$(readlink "$own/current" || :)
    remove_left "$name"
    # Another run may have moved it while this one waited for the lock.
    if [ "$to" = shared ]; then [ -e "$own/ostree" ] || return 0; else [ -L "$own/stateroot" ] || return 0; fi
    # A stateroot that is made here has no /var, so that there is none to be mistaken for the guest's.
    if [ "$to" = shared ]; then
        from=private deployments=$sysroot/ostree/deploy/$name/deploy
        make_stateroot "$name"
    else
        from=shared deployments=ostree/deploy/$name/deploy
        make_sysroot "$name" without-var
    fi
    result=changed
    old_root=$(root_of "$from" "$name") new_root=$(root_of "$to" "$name")
    source=$old_root/ostree/deploy/$name target=$new_root/ostree/deploy/$name
    # What it boots is in the target already, of a move that was killed; else it is to come along.
    case $chosen in "" | "$deployments"/*) id='' ;; *) id=${chosen##*/} ;; esac
    [ -z "$id" ] || prepare_deployment
    systemctl stop "systemd-nspawn@$name.service"
    if [ -e "$source/var" ]; then move_var; else recover_var; fi
    [ -z "$id" ] || move_deployment
    leave
}

# remove_left NAME: what a run that was killed has left of a private sysroot on its way in or out. A definition follows.
remove_left() {
    rm -rf --one-file-system "$state/$1/.ostree.old" "$state/$1/.sysroot.new"
    [ -e "$state/$1/ostree" ] || rm -rf --one-file-system "$state/${1:?}/boot"
}

# What can be known to fail does so before the guest is stopped.
prepare_deployment() {
    [ -d "$source/deploy/$id" ] ||
        die "there is no $source/deploy/$id, which it is to boot" "Fix it where it is, then move it."
    commit=${id%.*}
    ostree pull-local --repo="$new_root/ostree/repo" "$old_root/ostree/repo" "$commit"
    new=$(deployed "$new_root" "$name" "$commit")
    [ "$to" = private ] || [ -n "$new" ] || space "$name" "$commit"
}

move_var() {
    [ ! -e "$target/var" ] ||
        die "there is a /var of it in $source and one in $target" "Move away the one that it is not to have."
    source_mount=$(mount_of "$source") target_mount=$(mount_of "$target")
    if [ "$source_mount" = "$target_mount" ]; then
        mv -T "$source/var" "$target/var"
    else
        rm -rf --one-file-system "$target/.var.new"
        cp -a "$source/var" "$target/.var.new"
        sync -f "$target"
        mv -T "$source/var" "$source/.var.old"
        mv -T "$target/.var.new" "$target/var"
    fi
}

# Not by the device: a rename fails between two mounts of one file system, and `mv` copies in place of it.
mount_of() { # DIRECTORY
    findmnt --noheadings --output ID,TARGET --target "$1"
}

# Of a run that was killed between two renames: either of these is the whole /var, when there is none by its name.
recover_var() {
    for left in "$target/.var.new" "$target/.var.old"; do
        if [ -e "$left" ] && [ ! -e "$target/var" ]; then mv -T "$left" "$target/var"; fi
    done
    mkdir -p "$target/var"
}

move_deployment() {
    [ -n "$new" ] || deploy_commit "$to" "$name" "$commit"
    new=$(deployed "$new_root" "$name" "$commit")
    find "$target/deploy/$new/etc" -mindepth 1 -delete
    cp -a "$source/deploy/$id/etc/." "$target/deploy/$new/etc/"
    sync -f "$target"
    choose "$name" "$to" "$new"
}

# What shows that there is something to move goes at once; `definition` does the rest when it is killed here.
leave() {
    rm -f "$own/.current.new" "$own/fallback"
    undeploy "$from" "$name"
    rm -rf --one-file-system "$source"
    if [ "$from" = shared ]; then
        rm "$own/stateroot"
    else
        mv -T "$own/ostree" "$own/.ostree.old"
        rm -rf --one-file-system "$own/.ostree.old" "${own:?}/boot"
    fi
}
