# shellcheck shell=sh
# pull NAME COMMIT REMOTE REF: into the guest's repository; first into the host's, where REMOTE is given.
name=$1 commit=$2 remote=$3 ref=$4

[ -z "$remote" ] || ostree pull --repo=/ostree/repo "$remote" "$ref"
[ -n "$commit" ] || commit=$(ostree rev-parse --repo=/ostree/repo "$remote:$ref")
ostree pull-local --repo="$state/$name/ostree/repo" /ostree/repo "$commit"
