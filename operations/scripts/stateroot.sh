# shellcheck shell=sh
# stateroot NAME: a private sysroot with one stateroot, whole or not at all.
name=$1
new=$state/.$name.new

# shellcheck disable=SC2174 # all above it is there
mkdir -p -m 0700 "$state"
[ ! -e "$state/$name/ostree/repo/config" ] || exit 0
rm -rf "$new"
mkdir -m 0700 "$new"
ostree admin init-fs --modern "$new"
ostree admin --sysroot="$new" os-init "$name"
mv -T "$new" "$state/$name"
