# shellcheck shell=sh
# move NAME TO: a guest into the other sysroot, `private` or `shared`, with the deployment that it boots, its /etc and
# its /var. It is stopped. Killed anywhere, a later run goes on, or back: `current` tells which /etc is the
# guest's; its /var is where it was until it is whole where it is to be; a mark tells which stateroot a move has made,
# whose /var is nobody's.
name=$1 to=$2
own=$state/$name
chosen=$(readlink "$own/current" 2>/dev/null || :)

systemctl stop "systemd-nspawn@$name.service"
if [ "$to" = shared ]; then
    from=private target=/sysroot/ostree/deploy/$name source=$own/ostree/deploy/$name
    repo=/ostree/repo other_repo=$own/ostree/repo deployments=$target/deploy
else
    from=shared target=$own/ostree/deploy/$name source=/sysroot/ostree/deploy/$name
    repo=$own/ostree/repo other_repo=/ostree/repo deployments=ostree/deploy/$name/deploy
fi
[ -e "$target" ] || : >"$own/.made-in-$to"
if [ "$to" = shared ]; then make_stateroot "$name"; else make_sysroot "$name"; fi

boots_from_target() {
    case $chosen in "$deployments"/*) ;; *) return 1 ;; esac
}

# The deployment of a commit in the target.
deployed() { # COMMIT
    entries "$to" "$name" | sed -n "s/^$name \($1\.[0-9]*\)$/\1/p" | sed 1q
}

move_deployment() {
    id=${chosen##*/}
    commit=${id%.*}
    if [ -z "$(deployed "$commit")" ]; then
        ostree pull-local --repo="$repo" "$other_repo" "$commit"
        if [ "$to" = shared ]; then
            deploy_shared "$name" "$commit"
        else
            ostree admin --sysroot="$own" deploy --os="$name" --karg-none --retain "$commit"
        fi
    fi
    new=$(deployed "$commit")
    find "$target/deploy/$new/etc" -mindepth 1 -delete
    cp -a "$source/deploy/$id/etc/." "$target/deploy/$new/etc/"
}

move_var() {
    case $state in
    /sysroot/*) # one file system, one mount
        rm -rf --one-file-system "${target:?}/var"
        mv -T "$source/var" "$target/var"
        ;;
    *)
        rm -rf --one-file-system "$target/.var.new" "${target:?}/var"
        cp -a "$source/var" "$target/.var.new"
        mv -T "$target/.var.new" "$target/var"
        mv -T "$source/var" "$source/.var.old"
        ;;
    esac
}

[ -z "$chosen" ] || boots_from_target || move_deployment
if [ -d "$source/var" ]; then
    if [ ! -e "$target/var" ] || [ -e "$own/.made-in-$to" ]; then
        move_var
    elif ! boots_from_target || [ ! -e "$own/.made-in-$from" ]; then
        die "guest $name: it has a /var in $source and one in $target: move away the one that it is not to have"
    fi
fi
[ -z "$chosen" ] || boots_from_target || link "$name" current "$deployments/$new"

undeploy "$from" "$name"
rm -rf --one-file-system "$source"
rm -f "$own/.made-in-private" "$own/.made-in-shared"
# What says that there is something to move goes at once. definition.sh does the rest of one that is killed here.
if [ "$from" = shared ]; then
    rm "$own/stateroot"
else
    mv -T "$own/ostree" "$own/.ostree.old"
    rm -rf --one-file-system "$own/.ostree.old" "${own:?}/boot"
fi
