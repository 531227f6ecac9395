# shellcheck shell=sh
# current NAME DEPLOYMENT: the directory that the guest boots from now on, as seen from its own.
name=$1 deployment=$2

cd "$state/$name"
[ -d "$deployment" ] || die "guest $name: there is no deployment $deployment in $state/$name; run again"
rm -f .current.new
ln -s "$deployment" .current.new
mv -T .current.new current
