# shellcheck shell=sh
# The host itself.

INOTIFY_INSTANCES=/proc/sys/fs/inotify/max_user_instances

machines_target() {
    [ "$(systemctl is-enabled machines.target)" != enabled ] || return 0
    result=changed
    systemctl enable machines.target
}

# sysctl_file - FILE INSTANCES BYTES: the file that was sent for the next boot, the value for now.
sysctl_file() {
    sent=$(received "$4")
    content=$(printf '%s\n' "$sent" | base64 -w 0)
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0755 "${2%/*}"
    install_files "644 $2 $content"
    [ "$(cat "$INOTIFY_INSTANCES")" -ge "$3" ] || {
        result=changed
        echo "$3" >"$INOTIFY_INSTANCES"
    }
}

# install_sent BYTES MODE: the files that were sent; sets installed to the paths of those of that mode.
install_sent() {
    sent=$(received "$1")
    for _path in $(sent_paths '[0-7]*'); do
        mkdir -p "${_path%/*}"
    done
    install_files "$sent"
    installed=$(sent_paths "$2")
    result=changed # one that was killed before this has installed the files and no more
}

sent_paths() { # MODE
    printf '%s\n' "$sent" | sed -n "s/^$1 \([^ ]*\) .*/\1/p"
}

# guest_links - BYTES: files for udev and NetworkManager, which then serves the links that are there and those to come.
guest_links() {
    install_sent "$2" 600
    for _profile in $installed; do
        nmcli connection load "$_profile"
        _zone=$(sed -n 's/^interface-name=\(vz-.*\)/\1/p' "$_profile")
        [ -z "$_zone" ] || [ ! -e "/sys/class/net/$_zone" ] || serve_zone "$_profile"
    done
    udevadm control --reload
    for _link in /sys/class/net/ve-*; do
        [ ! -e "$_link" ] || udevadm trigger --action=add "$_link"
    done
}

# serve_zone PROFILE: the bridge that systemd-nspawn has made, with the guests on it.
serve_zone() {
    _ports=$(guest_ports)
    _failed=0
    timeout 60 nmcli connection up uuid "$(sed -n 's/^uuid=//p' "$1")" || _failed=$?
    printf '%s\n' "$_ports" | attach_guest_ports
    return "$_failed"
}

# k3s_host - BYTES: files for the next boot, and what they say for now.
k3s_host() {
    install_sent "$2" 644
    for _file in $installed; do
        case $_file in
        */modules-load.d/*) load_modules "$_file" ;;
        *) /usr/lib/systemd/systemd-sysctl "$_file" ;;
        esac
    done
}

# remotes - BYTES: files of the remotes of the host's repository, and of their keys.
remotes() {
    install_sent "$2" 644
}

load_modules() { # FILE
    _problem=$(sed '/^#/d' "$1" | xargs -r modprobe -a -- 2>&1) ||
        die "modules cannot be loaded: $(printf '%s\n' "$_problem" | head -n 1)" \
            "Install the modules of the host's kernel (kernel-modules-extra in Fedora)."
}

# selinux - MODE: now, and in the configuration for the next boot.
selinux() {
    config=$etc/selinux/config
    ! { [ "$(getenforce | tr '[:upper:]' '[:lower:]')" = "$2" ] && grep -qx "SELINUX=$2" "$config"; } || return 0
    result=changed
    setenforce "$2"
    content=$(sed "s/^SELINUX=.*/SELINUX=$2/" "$config")
    printf '%s\n' "$content" | install_file 644 "$config"
}

layer() {
    rpm-ostree install --idempotent systemd-container
    die "systemd-container is layered but not booted" "Reboot the host, then run again."
}

# decommission: removes our files from the host, and fails while any guest remains. The next run plans this step again as
# long as the sysctl file exists, so that one goes last.
decommission() {
    if [ -d "$state" ]; then
        left=$(find "$state" -mindepth 1 -maxdepth 1 ! -name .version ! -name .k3s ! -name lost+found -printf '%f ' | printable)
        [ -z "$left" ] || die "$state still has ${left% }" "Remove these guests with \`purge: True\`, take .backups away, then run again."
        result=changed
        rm -rf "$state/.version" "$state/.k3s"
        # It may be a file system of its own.
        [ "$(stat -c %d "$state")" != "$(stat -c %d "${state%/*}")" ] || rmdir "$state"
    fi
    [ ! -d "$run/pyinfra-nspawn" ] || find "$run/pyinfra-nspawn" -depth -type d -empty -delete
    for _file in "$etc/udev/rules.d/86-pyinfra-nspawn.rules" \
        "$etc"/ostree/remotes.d/*.conf "$etc"/ostree/pyinfra-nspawn/*.asc \
        "$etc"/modules-load.d/60-pyinfra-nspawn-k3s.conf "$etc"/sysctl.d/60-pyinfra-nspawn-k3s.conf \
        "$etc"/NetworkManager/system-connections/pyinfra-nspawn-guest-links.nmconnection \
        "$etc"/NetworkManager/system-connections/pyinfra-nspawn-zone-*.nmconnection \
        "$etc/sysctl.d/60-pyinfra-nspawn.conf"; do
        ! is_ours "$_file" || {
            result=changed
            rm "$_file"
            case $_file in */NetworkManager/*) nmcli connection reload 2>/dev/null || : ;; esac
        }
    done
}
