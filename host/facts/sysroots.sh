# shellcheck shell=sh
# The OSTree sysroots of a host: its own, called `/`, and the private ones of its guests; see facts/ostree.py.

# facts_sysroots [commit:CHECKSUM] [offer:REMOTE:REF] [path:PATH]...: all sysroots, and the given commits, offers and paths.
facts_sysroots() {
    # shellcheck disable=SC2046 # names have no spaces
    sysroots_of / $(private_sysroots)
    for _asked; do
        case $_asked in
        commit:*) sysroot_commit "${_asked#commit:}" ;;
        offer:*) sysroot_offer "${_asked#offer:}" ;;
        path:*) sysroot_path "${_asked#path:}" ;;
        esac
    done
}

private_sysroots() {
    for _config in "$state"/*/ostree/repo/config; do
        _config=${_config%/ostree/repo/config}
        is_name "${_config##*/}" && [ -d "$_config/ostree" ] && echo "${_config##*/}"
    done
}

# sysroots_of NAME...: these, side by side; a guest that has none of its own is not spoken of.
sysroots_of() {
    if ! is_root; then
        part "status /" no_root
    elif ! have ostree; then
        part "status /" no_ostree
    else
        learn_status
        beside sysroot_facts "$@"
    fi
}

no_ostree() {
    echo "there is no ostree command" >&2
    return 127
}

sysroot_facts() { # NAME
    _path=$sysroot
    if [ "$1" != / ]; then
        _path=$state/$1
        [ -e "$_path/ostree/repo/config" ] || return 0
    fi
    case $status_help in
    *--json*) part "status-json $1" admin "$_path" status --json ;;
    *) part "status $1" status "$_path" ;;
    esac
    brief "stateroots $1" sysroot_stateroots "$_path/ostree/deploy"
    brief "refs $1" sysroot_refs "$_path/ostree/repo/refs"
    [ "$1" != / ] || sysroot_of_host
}

sysroot_of_host() {
    part "remotes /" sysroot_remotes
    part "fallback /" sysroot_fallback
    ! have rpm-ostree || sysroot_layers
}

sysroot_stateroots() { # DIRECTORY
    cd "$1" || return
    for _entry in *; do
        [ ! -d "$_entry" ] || printf '%s\n' "$_entry"
    done
}

# refs/heads and refs/remotes hold a file a ref: one process instead of a rev-parse for each of them.
sysroot_refs() { # DIRECTORY
    cd "$1" || return
    grep -RH . heads remotes
    [ $? -le 1 ] # 1: no line matched, there is no ref
}

# One file at a time: the last line of one may lack its newline.
sysroot_remotes() {
    for _file in "$sysroot/ostree/repo/config" "$etc"/ostree/remotes.d/*.conf; do
        [ ! -f "$_file" ] || sed -n '/^\[remote "/p; s/^url *= */url=/p' "$_file"
        echo
    done | sed '/^$/d'
}

# What boots another deployment when one does not come up: it takes the second entry, whosever it is.
sysroot_fallback() {
    have systemctl && timeout "$tool_seconds" systemctl is-enabled --quiet greenboot-healthcheck.service 2>/dev/null &&
        echo greenboot
    for _file in "$boot"/grub2/grubenv "$boot"/grub/grubenv "$boot"/efi/EFI/*/grubenv; do
        ! grep -qs '^boot_counter=' "$_file" || echo "boot_counter (in $_file)"
    done
}

# Its daemon may not answer: it is asked once. The text is what the oldest ones have.
sysroot_layers() {
    case $(timeout "$tool_seconds" rpm-ostree status --help 2>&1) in
    *--json*) part "rpm-ostree-json /" timeout "$tool_seconds" rpm-ostree status --json ;;
    *) part "rpm-ostree /" timeout "$tool_seconds" rpm-ostree status ;;
    esac
}

# Without a process: a host may be asked for many.
sysroot_commit() { # CHECKSUM
    _repo=$sysroot/ostree/repo
    _rest=${1#??}
    if [ ! -e "$_repo/objects/${1%"$_rest"}/$_rest.commit" ]; then
        value "commit $1" absent
    elif [ -e "$_repo/state/$1.commitpartial" ]; then
        value "commit $1" partial
    else
        value "commit $1" present
    fi
}

sysroot_offer() { # REMOTE:REF
    part "offer $1" offered "${1%%:*}" "${1#*:}"
}

# offered REMOTE REF: the commit that the remote's summary names. Nothing of the repository is changed.
offered() {
    _summary=$(timeout "$tool_seconds" ostree remote summary --repo="$sysroot/ostree/repo" "$1") || return
    printf '%s\n' "$_summary" | {
        _offered=''
        while read -r _first _second; do
            [ "$_first" != '*' ] || _offered=$_second
            if [ "$_offered" = "$2" ] && is_commit "$_first"; then
                echo "$_first"
                break
            fi
        done
    }
}

sysroot_path() { # PATH
    as_word "$1"
    _header="path $word"
    if [ -e "$1" ]; then
        as_word "$(readlink -ne -- "$1")"
        value "$_header" "$word"
    else
        value "$_header" absent
    fi
}
