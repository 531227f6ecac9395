# shellcheck shell=sh
# deploy-shared NAME COMMIT: in the host's own sysroot, beside the host.
mkdir -p "/sysroot/ostree/deploy/$1/var" # without one, of a run that was killed, ostree deploys nothing
deploy_shared "$1" "$2"
