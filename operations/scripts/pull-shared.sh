# shellcheck shell=sh
# pull-shared NAME COMMIT REMOTE REF: into the host's repository.
remote=$3 ref=$4

ostree pull --repo=/ostree/repo "$remote" "$ref"
