# shellcheck shell=sh
# What was changed on a host, and who did it: an entry in its journal for each step that changed something or failed. An
# entry holds no problem, payload or content: a guest or a secret may speak in those. facts/history.sh reads them.

# Whose entries they are (SYSLOG_IDENTIFIER).
IDENTIFIER=pyinfra-nspawn

# learn_login: sets login to the user who became root here, as sudo, doas or sshd says, unless it was given.
learn_login() {
    [ -n "$login" ] || plain_word "${SUDO_USER:-${DOAS_USER:-${LOGNAME:-${USER:--}}}}"
    login=${login:-$word}
}

# plain_word TEXT: sets word to its first 64 characters, with `?` in the place of what may mean something to anybody.
plain_word() {
    _rest=$1 word=
    while [ -n "$_rest" ] && [ "${#word}" -lt 64 ]; do
        case $_rest in
        [A-Za-z0-9._@+-]*) word=$word${_rest%"${_rest#?}"} ;;
        *) word="$word?" ;;
        esac
        _rest=${_rest#?}
    done
}

# record RESULT [REMARK]: `changed` or `failed`, of the present verb and guest; nothing where the controller did not say who
# it is. One process. A host without a journal or logger keeps no record, which is no trouble.
record() {
    [ -n "$by" ] || return 0
    case $1 in failed) _priority=4 ;; *) _priority=5 ;; esac
    logger --journald >/dev/null 2>&1 <<EOF || :
MESSAGE=$verb $guest: $1${2:+ ($2)}, by $by as $login, version $version
SYSLOG_IDENTIFIER=$IDENTIFIER
PRIORITY=$_priority
PYINFRA_NSPAWN_VERB=$verb
PYINFRA_NSPAWN_GUEST=$guest
PYINFRA_NSPAWN_RESULT=$1
PYINFRA_NSPAWN_BY=$by
PYINFRA_NSPAWN_LOGIN=$login
PYINFRA_NSPAWN_VERSION=$version
EOF
}
