# shellcheck shell=sh
# move NAME TO: a guest into the other sysroot, `private` or `shared`, with the deployment that it boots, its /etc and
# its /var. It is stopped. Killed anywhere, a later run goes on, or back: `current` tells which /etc is the
# guest's, and its /var is where it was until it is whole where it is to be.
name=$1 to=$2
own=$state/$name
chosen=$(readlink "$own/current" 2>/dev/null || :)

systemctl stop "systemd-nspawn@$name.service"
if [ "$to" = shared ]; then
    from=private target=/sysroot/ostree/deploy/$name source=$own/ostree/deploy/$name
    repo=/ostree/repo other_repo=$own/ostree/repo deployments=$target/deploy
    make_stateroot "$name"
else
    from=shared target=$own/ostree/deploy/$name source=/sysroot/ostree/deploy/$name
    repo=$own/ostree/repo other_repo=/ostree/repo deployments=ostree/deploy/$name/deploy
    make_sysroot "$name"
fi

# has_chosen: whether the guest boots from the target already.
has_chosen() {
    case $chosen in "$deployments"/*) ;; *) return 1 ;; esac
}

# The deployment of a commit in the target.
deployed() { # COMMIT
    entries "$to" "$name" | sed -n "s/^$name \($1\.[0-9]*\)$/\1/p" | sed 1q
}

if [ -n "$chosen" ] && ! has_chosen; then
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
fi

if [ -d "$source/var" ]; then
    ! has_chosen || [ ! -d "$target/var" ] ||
        die "guest $name: it has a /var in $source too, of an earlier guest of that name: move one of them away"
    case $state in
    /sysroot/*) # one file system, one mount
        rm -rf --one-file-system "${target:?}/var"
        mv -T "$source/var" "$target/var"
        ;;
    *)
        rm -rf --one-file-system "$target/.var.new" "${target:?}/var"
        cp -a "$source/var" "$target/.var.new"
        mv -T "$target/.var.new" "${target:?}/var"
        mv -T "$source/var" "$source/.var.old"
        ;;
    esac
fi

[ -z "$chosen" ] || has_chosen || link "$name" current "$deployments/$new"
undeploy "$from" "$name"
rm -rf --one-file-system "$source"
if [ "$from" = private ]; then rm -rf --one-file-system "${own:?}/boot" "$own/ostree"; else rm -f "$own/stateroot"; fi
