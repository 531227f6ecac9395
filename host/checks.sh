# shellcheck shell=sh
# A guest's own checks, which a change of it must pass: payload lines `check within SECONDS SETTLE`, then `check unit BASE64`,
# `check command BASE64`, `check tcp BASE64` (ADDRESS PORT), `check http BASE64` (a URL).

# checked NAME PAYLOAD-FILE: a verdict upon a guest that is up: all checks pass in time.
checked() {
    _within=$(sed -n 's/^check within \([0-9]*\) .*/\1/p' "$2")
    [ -n "$_within" ] || {
        echo healthy
        return
    }
    now
    _until=$((now + _within))
    while :; do
        _unmet=$(unmet "$1" "$2")
        [ -n "$_unmet" ] || break
        now
        [ "$now" -lt "$_until" ] || {
            failed "$_unmet (waited $_within s)" "Look at it in the guest: \"machinectl shell $1\" on the host."
            return
        }
        sleep 0.5
    done
    echo healthy
}

# settled NAME PAYLOAD-FILE ON_DEGRADED FILES: a verdict upon a guest that was healthy and passed its checks: it still is, and does,
# after the time that it is given to settle, and has not started again in it.
settled() {
    _settle=$(sed -n 's/^check within [0-9]* //p' "$2")
    [ "${_settle:-0}" != 0 ] || {
        echo healthy
        return
    }
    _leader=$(machinectl show --value -p Leader "$1" 2>/dev/null || :)
    sleep "$_settle"
    if [ "$(machinectl show --value -p Leader "$1" 2>/dev/null || :)" != "$_leader" ]; then
        failed "it started again within $_settle s" "Run \"journalctl -u systemd-nspawn@$1\" on the host."
        return
    fi
    _still=$(judge "$1" "$tool_seconds" "$3" "$4")
    case $_still in
    healthy*) ;;
    *)
        printf '%s\n' "$_still"
        return
        ;;
    esac
    _unmet=$(unmet "$1" "$2")
    if [ -n "$_unmet" ]; then
        failed "$_unmet (after $_settle s)" "Look at it in the guest: \"machinectl shell $1\" on the host."
    else
        echo healthy
    fi
}

# unmet NAME PAYLOAD-FILE: the first check that fails; nothing where all pass.
unmet() {
    _leader=$(machinectl show --value -p Leader "$1" 2>/dev/null) || {
        echo "the guest is gone"
        return
    }
    _asked=$(in_guest_checks <"$2")
    if [ -n "$_asked" ]; then
        _answer=$(printf '%s\necho met\n' "$_asked" | in_guest "$1" "Check the guest" | head -c 100 | printable | sed 1q || :)
        case $_answer in
        met) ;;
        *)
            of_check "${_answer#unmet }" "$2" || echo "the guest gave no answer to its checks"
            return
            ;;
        esac
    fi
    grep '^check \(tcp\|http\) ' "$2" | while read -r _ _type _content; do
        _content=$(printf '%s' "$_content" | base64 -d)
        # shellcheck disable=SC2086 # an address and a port
        case $_type in
        tcp) tcp_answers "$_leader" $_content || echo "nothing answers at TCP ${_content% *}, port ${_content#* }" ;;
        http) http_answers "$_leader" "$_content" || echo "$_content is not answered with 200 to 399" ;;
        esac
    done | sed 1q
}

# in_guest_checks: the script that says `unmet LINE` of the first payload line on stdin whose check fails. Nothing of what the
# guest prints is passed on.
in_guest_checks() {
    _line=0
    while read -r _word _type _content; do
        _line=$((_line + 1))
        case $_word/$_type in
        check/unit) echo "systemctl is-active --quiet -- \"\$(echo $_content | base64 -d)\" || { echo unmet $_line; exit; }" ;;
        check/command)
            echo "c=\$(echo $_content | base64 -d) && [ -n \"\$c\" ] && sh -c \"\$c\" </dev/null >/dev/null 2>&1 || {
                echo unmet $_line; exit; }"
            ;;
        esac
    done
}

of_check() { # LINE PAYLOAD-FILE
    case $1 in *[!0-9]*) return 1 ;; esac
    _line=$(sed -n "$1p" "$2")
    _content=$(printf '%s' "${_line##* }" | base64 -d | head -c 200 | printable)
    case $_line in
    "check unit "*) echo "$_content is not active" ;;
    "check command "*) echo "\`$_content\` failed" ;;
    *) return 1 ;;
    esac
}

# tcp_answers PID ADDRESS PORT: in the guest's network. It sends nothing, and reads nothing.
tcp_answers() {
    # shellcheck disable=SC2016 # for bash, whose /dev/tcp this is
    timeout 5 nsenter --net="/proc/$1/ns/net" bash -c ': 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>/dev/null
}

# http_answers PID URL: as nobody, for what answers is the guest's; with any certificate.
http_answers() {
    _code=$(timeout 10 nsenter --net="/proc/$1/ns/net" setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs \
        curl --silent --insecure --noproxy '*' --proto '=http,https' --max-time 5 --output /dev/null \
        --write-out '%{http_code}' -- "$2" 2>/dev/null) || return
    case $_code in [23][0-9][0-9]) ;; *) return 1 ;; esac
}
