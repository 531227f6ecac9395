# shellcheck shell=sh
# One change of a host at a time: a killed controller's command lives on, and what it did is looked at again only
# once it has ended. Its children inherit the lock.

lock() {
    exec 9>"$run/pyinfra-nspawn.lock"
    lock_again
}

lock_again() {
    flock -w 900 9 ||
        die "another run has held $run/pyinfra-nspawn.lock for 15 minutes" "End it, then run again."
}

unlock() {
    flock -u 9
}

# settle_down: waits for a running change, but no longer than for a guest's answer. A half-removed guest is unreadable.
settle_down() {
    [ ! -e "$run/pyinfra-nspawn.lock" ] ||
        flock -s -w "$ask_seconds" "$run/pyinfra-nspawn.lock" true 2>/dev/null || :
}
