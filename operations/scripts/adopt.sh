# shellcheck shell=sh
# adopt NAME DEPLOYMENT PATH...: a hand-made guest is ours from now on, and boots what it boots; what defined it is
# moved aside. What tells that it is not ours goes last.
name=$1 deployment=$2
shift 2
root=/sysroot/ostree/deploy/$name

[ -d "$root/deploy/$deployment" ] || die "guest $name: there is no $root/deploy/$deployment any more; run again"
chmod 0700 "$root"
claim "$name"
link "$name" current "$root/deploy/$deployment"
for path; do
    [ -e "$path" ] || continue
    aside=$path.before-pyinfra-nspawn
    [ ! -e "$aside" ] || die "guest $name: $aside is there already: move it away, then run again"
    mv -T "$path" "$aside"
done
