# shellcheck shell=sh
# What a hostile root does in its guest. Prints a line for each attempt that succeeds and must not.
# hostile MAJOR:MINOR...: the block devices of the host.

must_fail() { # WHAT COMMAND...
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "succeeded: $what"; fi
}

overwrite() { # FILE
    printf x 1<>"$1"
}

# Every path it sees that is no file system of the kernel's, of its own, or in memory.
for directory in / /usr /usr/bin /usr/lib /boot /sysroot /sysroot/ostree /ostree/repo /opt/../usr; do
    must_fail "write in $directory" touch "$directory/hostile"
done
must_fail "remount / writable" mount -o remount,rw /
must_fail "remount / writable, as a bind" mount -o remount,bind,rw /
mkdir -p /var/hostile && cd /var/hostile || exit
mkdir -p bind dev proc overlay
if mount --bind /usr bind; then
    must_fail "remount a bind of /usr writable" mount -o remount,bind,rw bind
    must_fail "write in a bind of /usr" touch bind/hostile
fi
must_fail "lift the immutable flag of /" chattr -i /
must_fail "replace a file of /usr" cp /bin/false /usr/bin/true
# shellcheck disable=SC2044 # no name there has a space
for file in $(find /usr/bin /usr/lib/systemd /usr/lib/ostree /usr/lib/lab-release -type f 2>/dev/null); do
    must_fail "overwrite $file in place" overwrite "$file"
    must_fail "change the mode of $file" chmod u+s "$file"
done

must_fail "mount devtmpfs" mount -t devtmpfs devtmpfs dev
mount -t proc proc proc 2>/dev/null
for path in /proc proc; do
    must_fail "core_pattern in $path" sh -c "echo '|/bin/false' >$path/sys/kernel/core_pattern"
    must_fail "sysrq in $path" sh -c "echo h >$path/sysrq-trigger"
    must_fail "modprobe in $path" sh -c "echo /bin/false >$path/sys/kernel/modprobe"
done
for device in "$@"; do
    mknod "block-$device" b "${device%:*}" "${device#*:}" 2>/dev/null
    must_fail "read block device $device" head -c 1 "block-$device"
    must_fail "mount block device $device" mount "block-$device" dev
done
# By handle: of what it sees, and of the root of the file system, inode 2 of an ext4.
# shellcheck disable=SC2016
must_fail "open by handle" perl -e '
    open(my $mount, "<", "/usr") or die;
    my $handle = pack("II", 128, 0) . "\0" x 128;
    my $id = pack("i", 0);
    # name_to_handle_at(2), open_by_handle_at(2) on x86-64
    syscall(303, -100, "/usr", $handle, $id, 0) == 0 or warn $!;
    my $root = pack("IiII", 8, 1, 2, 0);
    for my $try ($handle, $root) { exit 0 if syscall(304, fileno($mount), $try, 0) >= 0 }
    exit 1'

# What it may do, and what must not reach anybody outside.
cp /bin/sh /var/setuid-sh && chmod 4755 /var/setuid-sh || echo "could not: leave a setuid-root shell"
rm -rf /root/.ssh /var/shared
mkdir -p /var/roothome
ln -s ../../../../../../../../etc /var/roothome/.ssh
ln -s ../../../../../../../../home /var/shared
ln -s ../../../../../../../../etc/shadow /etc/written
# Where the host has our directory, seen from its /var.
rm -rf /var/lib/pyinfra-nspawn && ln -s /var/lib/pyinfra-nspawn /var/lib/pyinfra-nspawn
umount bind proc 2>/dev/null
cd / && rm -rf /var/hostile
