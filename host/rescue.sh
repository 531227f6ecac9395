# shellcheck shell=sh
# A guest that does not boot is entered without its init.

# rescue NAME STDIO DIGEST WORD...: runs systemd-run with STDIO and these words, once the guest is down and nothing is at work upon it.
# DIGEST is that of its definition, which must be the one on the host: another wall is not tried out in this way.
# The machine's name is taken then: a run refuses the guest until the rescue is over.
rescue() {
    set -e
    guest=$1 stdio=$2 digest=$3
    shift 3
    (prepare_rescue "$guest" "$digest") 3>/dev/null
    exec systemd-run --quiet --wait --collect "$stdio" --unit="pyinfra-nspawn-rescue-$guest" --service-type=exec \
        --description="Rescue guest $guest" "$@" <&4 >&3 2>&7
}

prepare_rescue() { # NAME DIGEST
    lock
    unit=systemd-nspawn@$1.service
    [ -d "$state/$1/current/" ] || die "the host has no guest $1" "Run deploys/guest.py."
    ! is_tried "$1" || die "a change of it is being tried, or was cut off" "Run deploys/guest.py first."
    case $(systemctl show --value -p ActiveState "$unit") in
    active | reloading) die "it runs" "Use \`pyinfra-nspawn shell\`, or stop it: \"systemctl stop $unit\" on the host." ;;
    esac
    grep -qsx "Environment=PYINFRA_NSPAWN_DEFINITION=$2" "$etc/systemd/system/$unit.d/50-ostree.conf" ||
        die "the host has another definition of it than the inventory" "Run deploys/guest.py, or give the inventory that it has."
    # It may be between two attempts to start.
    systemctl stop "$unit"
    record changed "entered without its init"
}

refuse_rescued() { # NAME
    ! systemctl is-active --quiet "pyinfra-nspawn-rescue-$1.service" ||
        die "it is being rescued" "End the shell in it, then run again."
}
