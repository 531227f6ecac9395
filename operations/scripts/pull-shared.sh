# shellcheck shell=sh
# pull-shared REMOTE REF: into the host's repository.
remote=$1 ref=$2

ostree pull --repo=/ostree/repo "$remote" "$ref"
