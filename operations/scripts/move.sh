# shellcheck shell=sh
# move NAME TO: a guest into the other sysroot, `private` or `shared`, with its /var, the deployment that it boots, and its
# /etc. It is stopped. Killed anywhere, a later run goes on, or back: /var is in one place or in the other, and
# `current` tells which /etc is the guest's.
name=$1 to=$2
own=$state/$name
chosen=$(readlink "$own/current" 2>/dev/null || :)

rm -rf --one-file-system "$own/.ostree.old" # of one that was killed at its end
# A stateroot that is made here has no /var, so that there is none to be mistaken for the guest's.
if [ "$to" = shared ]; then
    from=private target=/sysroot/ostree/deploy/$name source=$own/ostree/deploy/$name
    repo=/ostree/repo other_repo=$own/ostree/repo deployments=$target/deploy
    make_stateroot "$name"
else
    from=shared target=$own/ostree/deploy/$name source=/sysroot/ostree/deploy/$name
    repo=$own/ostree/repo other_repo=/ostree/repo deployments=ostree/deploy/$name/deploy
    make_sysroot "$name" without-var
fi
case $chosen in "" | "$deployments"/*) id='' ;; *) id=${chosen##*/} ;; esac
commit=${id%.*}

# The deployment of the commit in the target.
deployed() {
    found=$(entries "$to" "$name" | of "$name" "$commit." | sed 1q)
    echo "${found#* }"
}

# What can be known to fail does so before the guest is stopped.
if [ -n "$id" ]; then
    [ -d "$source/deploy/$id" ] ||
        die "guest $name: there is no $source/deploy/$id, which it is to boot: mend it where it is, then move it"
    ostree pull-local --repo="$repo" "$other_repo" "$commit"
    [ "$to" = private ] || [ -n "$(deployed)" ] || space "$name" "$commit"
fi

move_var() {
    [ ! -e "$target/var" ] ||
        die "guest $name: there is a /var of it in $source and one in $target: move away the one that it is not to have"
    case $state in
    /sysroot/*) mv -T "$source/var" "$target/var" ;; # one file system, one mount
    *)
        rm -rf --one-file-system "$target/.var.new"
        cp -a "$source/var" "$target/.var.new"
        sync -f "$target"
        mv -T "$source/var" "$source/.var.old"
        mv -T "$target/.var.new" "$target/var"
        ;;
    esac
}

# Of a run that was killed between two renames: either of these is the whole /var, when there is none by its name.
recover_var() {
    for left in "$target/.var.new" "$target/.var.old"; do
        if [ -e "$left" ] && [ ! -e "$target/var" ]; then mv -T "$left" "$target/var"; fi
    done
    mkdir -p "$target/var"
}

move_deployment() {
    if [ -z "$(deployed)" ]; then
        if [ "$to" = shared ]; then
            deploy_shared "$name" "$commit"
        else
            ostree admin --sysroot="$own" deploy --os="$name" --karg-none --retain "$commit"
        fi
    fi
    new=$(deployed)
    find "$target/deploy/$new/etc" -mindepth 1 -delete
    cp -a "$source/deploy/$id/etc/." "$target/deploy/$new/etc/"
    sync -f "$target"
    link "$name" current "$deployments/$new"
}

systemctl stop "systemd-nspawn@$name.service"
if [ -e "$source/var" ]; then move_var; else recover_var; fi
if [ -n "$id" ]; then move_deployment; fi
rm -f "$own/.current.new"

undeploy "$from" "$name"
rm -rf --one-file-system "$source"
# What says that there is something to move goes at once. definition.sh does the rest of one that is killed here.
if [ "$from" = shared ]; then
    rm "$own/stateroot"
else
    mv -T "$own/ostree" "$own/.ostree.old"
    rm -rf --one-file-system "$own/.ostree.old" "${own:?}/boot"
fi
