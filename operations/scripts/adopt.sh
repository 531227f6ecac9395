# shellcheck shell=sh
# adopt NAME DEPLOYMENT PATH...: what somebody else defined of the guest is moved aside. With DEPLOYMENT its stateroot in
# the host's sysroot is ours from now on, and it boots that. What tells that it is not ours goes last.
name=$1 deployment=$2
shift 2
root=/sysroot/ostree/deploy/$name

if [ -n "$deployment" ]; then
    [ -d "$root/deploy/$deployment" ] || die "guest $name: there is no $root/deploy/$deployment any more; run again"
    chmod 0700 "$root"
    claim "$name"
    link "$name" current "$root/deploy/$deployment"
fi
for path; do
    [ -e "$path" ] || continue
    aside=$path.before-pyinfra-nspawn
    [ ! -e "$aside" ] || die "guest $name: $aside is there already: move it away, then run again"
    mv -T "$path" "$aside"
done
systemctl daemon-reload
