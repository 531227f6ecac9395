# shellcheck shell=sh
# deploy NAME COMMIT: unless there is a deployment of it; a second one of a commit is no repair.
name=$1 commit=$2

if ostree admin --sysroot="$state/$name" status | grep -qF " $name $commit."; then
    exit 0
fi
mkdir -p "$state/$name/ostree/deploy/$name/var" # without one, of a run that was killed, ostree deploys nothing
# --retain: a deployment that a guest runs on is nothing special to a sysroot that nothing is booted from.
ostree admin --sysroot="$state/$name" deploy --os="$name" --karg-none --retain "$commit"
