# shellcheck shell=sh
# deploy-shared NAME COMMIT: in the host's own sysroot, beside the host.
deploy_shared "$1" "$2"
