# shellcheck shell=sh
# current NAME DEPLOYMENT: what the guest boots from now on.
name=$1 deployment=$2

cd "$state/$name"
target=ostree/deploy/$name/deploy/$deployment
[ -d "$target" ] || die "guest $name: $state/$name has no deployment $deployment; run again"
rm -f .current.new
ln -s "$target" .current.new
mv -T .current.new current
