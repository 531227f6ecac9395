# shellcheck shell=sh
# A guest in one file, and a guest made of such a file: on this host again, or on another.
#
# An archive is a tar file of `manifest` (lines KEY VALUE), `guest.json` (the guest as the inventory had it), `etc` and `var`. A last
# line has the digest of all before it; tar does not read so far. The host keeps archives in .backups/NAME; while one is
# written its name ends in .part.
# $backup holds what a backup needs: its payload and the program; `ran` says that the guest ran before, `begun` that it was started again.
# Of a guest that is restored, `restoring` holds `DIGEST IDENTITY` until all is in its place; `restored` then holds the digest.

ARCHIVE_FORMAT=1
SEAL='pyinfra-nspawn sha256'

# SEAL_BYTES: of the last line, with a digest of 64 digits.
SEAL_BYTES=87

backup_paths() { # NAME
    backup=$run/pyinfra-nspawn/backup/$1
    archives=$state/.backups/$1
}

# backup NAME SECONDS KEEP FILES PROGRAM-BYTES BYTES: the payload has a line `manifest`, `json` and perhaps `key`, each with base64:
# lines of the manifest, guest.json, and the key that the archive is encrypted to.
backup() {
    name=$1
    program=$(received "$5")
    sent=$(received "$6")
    backup_paths "$name"
    await_apart backup "$name"
    recover "$name"
    [ -d "$state/$name/current/" ] || die "the host has no guest $name" "Run deploys/guest.py."
    refuse_restoring "$name"
    settle_backup "$name"
    refuse_later_archive
    result=changed
    (
        umask 077
        mkdir -p "$run/pyinfra-nspawn/verdict" "$backup"
        mkdir -p "$archives"
    )
    printf '%s\n' "$sent" | install_file 600 "$backup/payload"
    install_program "$backup/program"
    for _part in manifest json key; do
        sent_part "$_part" | install_file 600 "$backup/$_part"
    done
    mv "$backup/json" "$backup/guest.json"
    encryptor=$(encryptor)
    [ -z "$encryptor" ] || have "$encryptor" || {
        rm -rf "$backup"
        die "the host has no $encryptor to encrypt the archive with" "Install it, or remove \`backup_key\`."
    }
    run_apart backup "$backup" "Back up guest $name" "$name" "$2" "$3" "$4"
    if [ -z "$verdict" ]; then
        await_apart backup "$name"
        settle_backup "$name"
        die "its backup was cut off" "Run again."
    fi
    report_verdict
}

# The latest archive is known by its name, which has the time.
refuse_later_archive() {
    _latest=$(latest_archive)
    case $_latest in "$(date -u +%Y%m%dT%H%M%SZ)"*) sleep 1 ;; esac
    [ "$(printf '%s\n' "$(date -u +%Y%m%dT%H%M%SZ).tar" "$_latest" | sort | tail -n 1)" != "$_latest" ] ||
        die "an archive of it is from the future: $_latest" "Set the host's clock, or move that file away."
}

sent_part() { # NAME
    sed -n "s/^$1 //p" "$backup/payload" | base64 -d
}

# encryptor: the program that takes the key; nothing for none.
encryptor() {
    read -r _key <"$backup/key" || :
    case $_key in '') ;; age1* | ssh-*) echo age ;; *) echo gpg ;; esac
}

# backup_run NAME SECONDS KEEP FILES: in a unit of its own. Where files can share blocks, the guest is down only while they are copied.
backup_run() {
    set -e
    guest=$1 verb=backup result=changed step='stop the guest'
    unit=systemd-nspawn@$1.service
    backup_paths "$1"
    lock
    [ -e "$backup/payload" ] || exit 0
    trap 'backup_cut_off' EXIT
    exec 2>"$backup/said"
    refuse_meanwhile "$1"
    case $(settled_state "$unit") in
    active | activating | reloading)
        : >"$backup/ran"
        known=known:$(all_units_of "$1" failed)
        ;;
    esac
    uptime_centiseconds >"$backup/stopped"
    systemctl stop "$unit"
    step='read its files'
    look_through "$1"
    copy_tree "$1"
    [ ! -e "$backup/copied" ] || start_again "$unit"
    write_archive "$1"
    start_again "$unit"
    conclude_backup "$@"
    rm -rf "$backup"
}

# settled_state UNIT: of one that is between two starts, the next is awaited.
settled_state() {
    now
    _until=$((now + 30))
    while :; do
        _active=$(systemctl show --value -p ActiveState "$1")
        now
        if [ "$_active" != deactivating ] || [ "$now" -ge "$_until" ]; then break; fi
        sleep 0.2
    done
    echo "$_active"
}

# refuse_meanwhile NAME: what another run began while this one waited for the lock.
refuse_meanwhile() {
    if systemctl is-active --quiet "pyinfra-nspawn-rescue-$1.service" || is_tried "$1" || [ -e "$state/$1/restoring" ]; then
        echo "another run has changed it" >&2
        return 1
    fi
}

# start_again UNIT: once, if it ran.
start_again() {
    [ -e "$backup/ran" ] && [ ! -e "$backup/begun" ] || return 0
    begin "$1"
    : >"$backup/begun"
}

# kind_of NAME: of the sysroot that a guest has.
kind_of() {
    if [ -L "$state/$1/stateroot" ]; then echo shared; else echo private; fi
}

# locate NAME: sets stateroot and deployment.
locate() {
    stateroot=$(root_of "$(kind_of "$1")" "$1")/ostree/deploy/$1
    deployment=$stateroot/deploy/$(chosen "$1")
}

# look_through NAME: finds directories of other file systems and subvolumes below its /etc and /var, and devices. No archive holds them:
# the first are not the guest's alone, and the second no restore would make. An overlay's whiteout is no device.
look_through() (
    locate "$1"
    cd "$deployment"
    apart etc
    devices etc
    cd "$stateroot"
    apart var
    devices var
)

apart() { # DIRECTORY
    find "$1" -xdev -type d -printf '%D %p\n' | grep -v "^$(stat -c %d "$1") " | sed 's/^[0-9]* //' >>"$backup/apart" || :
}

devices() { # DIRECTORY
    find "$1" -xdev \( -type b -o -type c \) -exec stat -c '%t:%T %n' {} + | sed -n '/^0:0 /!s/^[^ ]* //p' >>"$backup/devices"
}

# copy_tree NAME: of a guest that is down, where its files can share their blocks. Its root sees no more of the stateroot than /var.
copy_tree() (
    open_sysroot
    locate "$1"
    rm -rf --one-file-system "$stateroot/.backup"
    shares_blocks "$stateroot" || exit 0
    mkdir -m 0700 "$stateroot/.backup"
    cp -ax --reflink=auto "$deployment/etc" "$stateroot/var" "$stateroot/.backup/"
    : >"$backup/copied"
)

# write_archive NAME: into a file of another name, renamed once it is whole; the oldest then go.
write_archive() {
    _suffix=$(encryptor)
    archive=$(date -u +%Y%m%dT%H%M%SZ).tar${_suffix:+.$_suffix}
    _part=$archives/.$archive.part
    locate "$1"
    _etc=$deployment _var=$stateroot
    if [ -e "$backup/copied" ]; then
        _etc=$stateroot/.backup _var=$stateroot/.backup
    fi
    enough_to_archive "$_etc/etc" "$_var/var"
    complete_manifest "$1" "$_etc/etc"
    step='write the archive'
    (umask 077 && : >"$_part")
    { archived "$_etc" "$_var" || : >"$backup/failed"; } | sealed | encrypted >"$_part"
    [ ! -e "$backup/failed" ]
    [ -e "$backup/sealed" ]
    sync "$_part"
    mv -T "$_part" "$archives/$archive"
    sync "$archives"
    remove_copy "$1"
}

remove_copy() ( # NAME
    open_sysroot
    locate "$1"
    rm -rf --one-file-system "$stateroot/.backup"
)

# enough_to_archive DIRECTORY...: of a guest that is down, or a copy. Other guests need some of the file system too.
enough_to_archive() {
    _needed=$(du -sckx "$@" | sed -n '$s/[^0-9].*//p')
    _free=$(free_kib "$archives")
    [ "$_free" -gt $((_needed + _needed / 10 + DEPLOYMENT_KIB)) ] || {
        echo "its /etc and /var take $((_needed / 1024)) MiB, and $state has $((_free / 1024)) left" >&2
        return 1
    }
}

# complete_manifest NAME ETC: with what the host knows.
complete_manifest() {
    _deployment=$(chosen "$1") _id=''
    [ ! -f "$2/machine-id" ] || [ -L "$2/machine-id" ] || _id=$(head -c 32 "$2/machine-id" | tr -cd '0-9a-f')
    {
        echo "pyinfra-nspawn-archive $ARCHIVE_FORMAT"
        echo "guest $1"
        echo "commit ${_deployment%.*}"
        echo "taken $(date +%s)"
        [ -z "$_id" ] || echo "machine-id $_id"
        [ ! -e "$state/$1/k3s/.joined" ] || sed 's/^/joined /;q' "$state/$1/k3s/.joined"
        cat "$backup/manifest"
    } | install_file 600 "$backup/.manifest"
    mv -T "$backup/.manifest" "$backup/manifest"
}

# archived ETC-PARENT VAR-PARENT: tar takes no link for a directory. Links, owners, ACLs and extended attributes are kept.
archived() {
    tar --create --file=- --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner --sparse --one-file-system \
        --acls --xattrs --xattrs-include='*' --anchored --no-wildcards --exclude-from="$backup/devices" -C "$backup" manifest guest.json -C "$1" etc -C "$2" var
}

# sealed: stdin, and the line with its digest.
sealed() {
    mkfifo "$backup/pipe"
    sha256sum <"$backup/pipe" >"$backup/digest" &
    tee "$backup/pipe"
    wait "$!"
    read -r _digest _ <"$backup/digest"
    [ ! -e "$backup/failed" ]
    echo "$SEAL $_digest"
    : >"$backup/sealed"
}

# encrypted: stdin, to the key if there is one. gpg wants a home; it has no other keys there.
encrypted() {
    case $(encryptor) in
    age) age --encrypt --recipients-file "$backup/key" ;;
    gpg)
        mkdir -m 0700 "$backup/gnupg"
        gpg --homedir "$backup/gnupg" --batch --quiet --no-autostart --trust-model always --recipient-file "$backup/key" --encrypt
        ;;
    *) cat ;;
    esac
}

# conclude_backup NAME SECONDS KEEP FILES: leaves the verdict: upon the guest, if it was started again.
conclude_backup() {
    verdict=healthy
    if [ -e "$backup/ran" ]; then
        verdict=$(judge "$1" "$2" "$known" "$4")
        uptime_centiseconds >"$backup/up"
    fi
    _said="backed up into $archives/$archive: $(($(stat -c %s "$archives/$archive") / 1048576)) MiB"
    _digest=$(sha256sum <"$archives/$archive")
    case $verdict in
    healthy*)
        _down=''
        [ ! -e "$backup/ran" ] || _down=", was down for $(seconds_between "$backup/stopped" "$backup/up") s"
        verdict="$verdict$NEWLINE$_said, sha256 ${_digest%% *}$_down$(without)"
        drop_archives "$3"
        record changed
        ;;
    *)
        verdict=$(printf '%s\n' "$verdict" | sed "2s|\$|; it was $_said|")$NEWLINE$(journal_of "$1")
        record failed "did not come up after its backup"
        ;;
    esac
    printf '%s\n' "$verdict" | install_file 600 "$run/pyinfra-nspawn/verdict/$1"
}

without() {
    for _what in 'other file systems:apart' 'devices:devices'; do
        _file=$backup/${_what#*:}
        [ ! -s "$_file" ] || printf '; without %s: %s' "${_what%:*}" "$(sed 5q "$_file" | printable | listed)"
    done
}

seconds_between() { # FILE FILE: with centiseconds
    _span=$(($(cat "$2") - $(cat "$1")))
    printf '%d.%02d' $((_span / 100)) $((_span % 100))
}

# drop_archives KEEP: all but so many of the latest.
drop_archives() {
    for _path in "$archives"/*.tar*; do echo "$_path"; done | sort -r | tail -n +$(($1 + 1)) | while read -r _path; do
        rm -f "$_path"
    done
}

# A command of the backup failed: the guest must not stay down.
backup_cut_off() {
    trap - EXIT
    set +e
    [ -d "$backup" ] || return
    if [ ! -s "$run/pyinfra-nspawn/verdict/$guest" ]; then
        _problem=$(sed '/^$/d' "$backup/said" | tail -n 1 | printable)
        printf 'failed\ncould not %s%s\n%s\n' "$step" "${_problem:+: $_problem}" "$(hint "$_problem")" |
            install_file 600 "$run/pyinfra-nspawn/verdict/$guest"
    fi
    settle_backup "$guest"
    record failed "was cut off"
}

# backup_end NAME: after the end of a backup, by whatever end.
backup_end() {
    set -e
    guest=$1 verb=backup
    lock
    settle_backup "$1"
}

# settle_backup NAME: what a backup that was cut off has left.
settle_backup() {
    backup_paths "$1"
    start_again "systemd-nspawn@$1.service"
    rm -f "$archives"/.*.part
    remove_copy "$1"
    rm -rf "$backup"
}

# archive_facts NAME FILE: of an archive that the host keeps; the latest where FILE is empty.
archive_facts() {
    is_root || {
        part root no_root
        echo ":: done"
        return
    }
    backup_paths "$1"
    _file=$2
    [ -n "$_file" ] || _file=$(latest_archive)
    if [ -f "$archives/${_file:-none}" ]; then
        value "file" "$_file"
        value "size" "$(stat -c %s "$archives/$_file")"
        guest_part manifest manifest_of "$archives/$_file"
        guest_part seal tail -c "$SEAL_BYTES" "$archives/$_file"
    fi
    echo ":: done"
}

latest_archive() {
    for _path in "$archives"/*.tar*; do
        [ ! -f "$_path" ] || echo "${_path##*/}"
    done | sort | tail -n 1
}

manifest_of() { # FILE
    tar --extract --to-stdout --occurrence --file="$1" manifest | head -c 65536
}

# archive_bytes NAME FILE OFFSET COUNT: in lines of base64.
archive_bytes() {
    backup_paths "$1"
    tail -c "+$(($3 + 1))" "$archives/$2" | head -c "$4" | base64 -w 32768
    echo ":: done"
}

archive_digest() { # NAME FILE
    backup_paths "$1"
    _digest=$(sha256sum <"$archives/$2") && value sha256 "${_digest%% *}"
    echo ":: done"
}

refuse_restoring() { # NAME
    [ ! -e "$state/$1/restoring" ] ||
        die "its restore was interrupted" "Run deploys/restore.py again, or remove it with \`purge: True\`."
}

# restore_begin NAME DIGEST IDENTITY: from now on the guest is one that is being restored, and nothing else makes it.
restore_begin() {
    name=$1
    refuse_rescued "$name"
    _before=$(cat "$state/$name/restoring" 2>/dev/null || :)
    [ "$_before" != "$2 $3" ] && ! is_restored "$2" || return 0
    result=changed
    open_sysroot
    [ -n "$_before" ] || refuse_present
    own_directory "$name"
    for _root in "$state/$name" "$sysroot"; do
        rm -rf --one-file-system "$_root/ostree/deploy/$name/.restored"
    done
    rm -f "$state/$name/restored"
    echo "$2 $3" | install_file 600 "$state/$name/restoring"
    sync -f "$state/$name"
}

is_restored() { # DIGEST
    [ ! -e "$state/$name/restoring" ] && grep -qsx "$1" "$state/$name/restored"
}

# Nothing of a guest is replaced.
refuse_present() {
    [ ! -L "$state/$name/current" ] || die "the host has a guest $name" "Remove it with \`purge: True\` first, or restore elsewhere."
    for _root in "$state/$name" "$sysroot"; do
        [ ! -e "$_root/ostree/deploy/$name/var" ] ||
            die "a guest $name has left its /var in $_root/ostree/deploy/$name" "Remove it with \`purge: True\`, or move it away."
    done
}

# restore NAME KIND COMMIT FILE DIGEST IDENTITY: FILE is a path below our directory; IDENTITY `same` or `new`. Killed anywhere, a later
# run goes on: `restoring` goes last.
restore() {
    name=$1 kind=$2 commit=$3 digest=$5 identity=$6
    archive=$state/$4
    if is_restored "$digest"; then
        drop_sent
        return
    fi
    open_sysroot
    own=$state/$name
    grep -qsx "$digest $identity" "$own/restoring" || die "its restore was not begun" "Run again."
    root=$(root_of "$kind" "$name")
    stateroot=$root/ostree/deploy/$name
    id=$(deployed "$root" "$name" "$commit")
    [ -n "$id" ] || die "it has no deployment of commit $commit" "Run again."
    result=changed
    if ! grep -qsx "$digest" "$own/restored"; then
        if [ ! -d "$stateroot/.restored" ]; then
            verify_archive
            unpack "$stateroot/.restored.new"
            sync -f "$stateroot"
            mv -T "$stateroot/.restored.new" "$stateroot/.restored"
        fi
        place_restored
    fi
    rm -rf --one-file-system "$stateroot/.restored"
    drop_sent
    rm -f "$own/restoring"
}

# drop_sent: the archive, where the controller sent it for this restore.
drop_sent() {
    case $archive in */.k3s/*)
        rm -f "$archive"
        rmdir "${archive%/*}" 2>/dev/null || :
        ;;
    esac
}

refuse_archive() { # PROBLEM HINT
    drop_sent
    die "$@"
}

verify_archive() {
    [ -f "$archive" ] || die "the host does not have the archive any more" "Run again."
    _size=$(stat -c %s "$archive")
    [ "$(free_kib "$stateroot")" -gt $((_size / 1024 + DEPLOYMENT_KIB)) ] ||
        die "the archive takes $((_size / 1048576)) MiB, and $root has $(($(free_kib "$stateroot") / 1024)) left" "Free some, then run again."
    _seal=$(tail -c "$SEAL_BYTES" "$archive" | printable)
    _found=$(head -c $((_size - SEAL_BYTES)) "$archive" | sha256sum)
    [ "$_seal/${_found%% *}" = "$SEAL $digest/$digest" ] || refuse_archive "the archive is not whole, or was changed" "Take another one."
    manifest=$(manifest_of "$archive" | printable)
    printf '%s\n' "$manifest" | sed -n 's/^joined //p' | head -n 1 | install_file 600 "$own/.joined"
    case $NEWLINE$manifest$NEWLINE in
    *"${NEWLINE}pyinfra-nspawn-archive $ARCHIVE_FORMAT$NEWLINE"*"${NEWLINE}commit $commit$NEWLINE"*) ;;
    *) refuse_archive "it is no archive of a guest with commit $commit" "Take another one." ;;
    esac
}

# unpack DIRECTORY: in a root that has /usr and that directory alone, and without the right to make devices: whoever wrote the archive
# may have been root in a guest. A new identity is one without what the guest is known by; its paths are the archive's too.
unpack() {
    rm -rf --one-file-system "$1"
    mkdir -m 0700 "$1"
    _said=$(unshare --mount --propagation private sh -ec "$UNPACK_ROOT" sh "$1" "$run/pyinfra-nspawn" "$UNPACK" "$identity" \
        <"$archive" 2>&1) || {
        rm -rf --one-file-system "$1"
        _said=$(printf '%s\n' "$_said" | grep -v 'Exiting with failure' | tail -n 1 | printable)
        refuse_archive "the archive cannot be unpacked: ${_said#tar: }" "$(hint "$_said")"
    }
    for _member in etc var; do
        if [ ! -d "$1/$_member" ] || [ -L "$1/$_member" ]; then
            rm -rf --one-file-system "$1"
            refuse_archive "the archive has no /$_member" "Take another one."
        fi
    done
}

# shellcheck disable=SC2016 # for the shells that read them
UNPACK_ROOT='
root=$2/unpack
mkdir -p "$root"
mount -t tmpfs -o mode=0700 tmpfs "$root"
mkdir "$root/usr" "$root/target" "$root/tmp"
ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --bind "$1" "$root/target"
exec chroot "$root" /usr/bin/setpriv --no-new-privs --inh-caps=-all \
    --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+setfcap,+sys_admin \
    sh -c "$3" sh "$4"
'

# tar takes the first / off a path, and only says so.
# shellcheck disable=SC2016
UNPACK='
cd /target
said=$(tar --extract --file=- --numeric-owner --same-owner --preserve-permissions --delay-directory-restore --acls \
    --xattrs --xattrs-include="*" 2>&1)
code=$?
case $said in
*"Removing leading"*) echo "it has a path that begins with /"; exit 1 ;;
*": Cannot "*) printf "%s\n" "$said"; exit 1 ;; # a warning alone, for an attribute
esac
[ $code = 0 ] || { printf "%s\n" "$said"; exit $code; }
for file in * .[!.]* ..?*; do
    case $file in manifest | guest.json | etc | var | "*" | ".[!.]*" | "..?*") ;;
    *) echo "it has more than a guest"; exit 1 ;; esac
done
rm -rf manifest guest.json
[ "$1" = new ] || exit 0
rm -rf etc/machine-id etc/hostname etc/ssh/ssh_host_*_key etc/ssh/ssh_host_*_key*.pub etc/iscsi/initiatorname.iscsi \
    etc/nvme/hostnqn etc/nvme/hostid var/lib/dbus/machine-id var/lib/NetworkManager/secret_key var/lib/systemd/random-seed \
    var/lib/systemd/credential.secret
: >etc/machine-id
chmod 444 etc/machine-id
'

# place_restored: put its /var and its /etc in place, choose its deployment, and record that in `restored`.
place_restored() {
    _from=$stateroot/.restored
    if [ -e "$_from/var" ]; then
        rm -rf --one-file-system "${stateroot:?}/var"
        mv -T "$_from/var" "$stateroot/var"
    fi
    find "$stateroot/deploy/$id/etc" -mindepth 1 -delete
    cp -a "$_from/etc/." "$stateroot/deploy/$id/etc/"
    if [ -s "$own/.joined" ] && [ "$identity" = same ]; then
        mkdir -p "$own/k3s"
        mv -fT "$own/.joined" "$own/k3s/.joined"
    fi
    rm -f "$own/.joined"
    sync -f "$stateroot"
    choose "$name" "$kind" "$id"
    echo "$digest" | install_file 600 "$own/restored"
    sync -f "$own"
}
