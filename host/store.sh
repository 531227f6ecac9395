# shellcheck shell=sh
# Files that the host gets from elsewhere, stored once by their digests: those of k3s, which each guest has as hard links, and
# archives of guests on their way (archive.sh).

# store_directory: guests see files of it, read-only, and no other user of the host can read it.
store_directory() {
    store=$state/.k3s
    # shellcheck disable=SC2174 # all above it is there
    mkdir -p -m 0700 "$state"
    [ -d "$store" ] || mkdir -m 0700 "$store"
}

# is_stored SHA256: whole; otherwise sets part to where it is put together, and have_bytes to how much there is.
is_stored() {
    part=$store/.$1.part have_bytes=0
    [ ! -f "$store/$1" ] || return 0
    [ ! -f "$part" ] || have_bytes=$(stat -c %s "$part")
    return 1
}

# store_append - SHA256 KIND SIZE OFFSET BYTES: append the bytes of a file from OFFSET on, sent in base64. Ignore them unless the
# stored part ends at OFFSET; the answer has its size.
store_append() {
    sha256=$2
    store_directory
    ! is_stored "$sha256" || return 0
    [ "$have_bytes" = "$5" ] || return 0
    _said=$(head -c "$6" <&4 | {
        umask 077
        base64 -d >>"$part"
    } 2>&1) || case $_said in
    *"invalid input"*) die "the controller was cut off before it had sent everything" "Run again." ;;
    *)
        rm -f "$part"
        die "it cannot be stored" "$(hint "$_said")"
        ;;
    esac
    [ "$(stat -c %s "$part")" -lt "$4" ] || finish "$sha256" "$3"
}

# store_fetch - SHA256 KIND SECONDS BYTES: goes on with it for so long. The URL was sent: it may hold a password.
store_fetch() {
    sha256=$2
    url=$(received "$5")
    store_directory
    ! is_stored "$sha256" || return 0
    have curl || die "the host has no curl" "Install it, or give a \`path\` in the place of the \`url\`."
    _code=0
    _said=$(printf 'url = "%s"\n' "$url" | curl --config - --fail --location --silent --show-error --proto =http,https \
        --max-time "$4" --connect-timeout 10 --continue-at - --output "$part" 2>&1) || _code=$?
    _before=$have_bytes
    is_stored "$sha256" || :
    case $_code in
    0) finish "$sha256" "$3" ;;
    # It took too long: more of it is there than before.
    28) [ "$have_bytes" -gt "$_before" ] || die "nothing arrived within $4 s" "Check the \`url\`, then run again." ;;
    # The server has no ranges, and it begins anew; or (416, below) it has no more of it.
    33 | 36) rm -f "$part" ;;
    23)
        rm -f "$part"
        die "it cannot be stored" "$(hint 'No space left on device')"
        ;;
    *)
        _said=$(printf '%s\n' "$_said" | tail -n 1)
        case $_code$_said in
        22*' 416'*) rm -f "$part" ;;
        *) die "it cannot be fetched: $_said" "Check the \`url\`, and the host's way to it." ;;
        esac
        ;;
    esac
}

# finish SHA256 KIND: verify the part, then store it under its digest, or remove it.
finish() {
    result=changed
    _found=$(sha256sum <"$part")
    _found=${_found%% *}
    if [ "$_found" != "$1" ]; then
        rm -f "$part"
        die "its sha256 is $_found" "Correct the sha256, or get the file anew."
    fi
    case $2 in
    binary) if ! is_native "$part"; then
        rm -f "$part"
        die "it is no program for this host ($(uname -m))" "Take the binary of the host's architecture."
    fi ;;
    esac
    case $2 in archive) chmod 0600 "$part" ;; *) chmod 0755 "$part" ;; esac
    sync "$part"
    mv -fT "$part" "$store/$1"
}

# is_native FILE: by the beginning of an ELF file: magic, class, byte order and machine (elf(5)).
is_native() {
    [ "$(elf "$1")" = "$(elf /proc/self/exe)" ]
}

elf() { # FILE
    od -An -tx1 -N6 "$1"
    od -An -tx1 -j18 -N2 "$1"
}

hard_link() { # FILE PATH
    # shellcheck disable=SC3013 # of POSIX 2024; all shells that a host has as sh know it
    [ ! "$1" -ef "$2" ] || return 0
    result=changed
    _old=$(stored_as "$2")
    ln -fT "$1" "${2%/*}/.${2##*/}.new"
    mv -fT "${2%/*}/.${2##*/}.new" "$2"
    forget "$_old"
}

# stored_as PATH: the digest by which that file is stored; nothing where it is not.
stored_as() {
    for _stored in "$state/.k3s"/*; do
        # shellcheck disable=SC3013
        [ ! "$_stored" -ef "$1" ] || echo "${_stored##*/}"
    done
}

# forget SHA256: unless a guest has it.
forget() {
    [ -z "$1" ] || [ "$(stat -c %h "$state/.k3s/$1")" != 1 ] || rm -f "$state/.k3s/$1"
}

# store_prune - SHA256...: remove stored files and parts that no guest uses, except these.
store_prune() {
    shift
    for _path in "$state/.k3s"/* "$state/.k3s"/.*.part; do
        [ -f "$_path" ] || continue
        _sha256=${_path##*/} _sha256=${_sha256#.} _sha256=${_sha256%.part}
        case " $* " in *" $_sha256 "*) continue ;; esac
        [ "$(stat -c %h "$_path")" = 1 ] || continue
        result=changed
        rm -f "$_path"
    done
    rmdir "$state/.k3s" 2>/dev/null || :
}
