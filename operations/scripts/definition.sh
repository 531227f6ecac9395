# shellcheck shell=sh
# definition NAME [reload]: writes the files on stdin, lines `MODE PATH BASE64`, and removes `- PATH`.
name=$1 reload=$2
umask 077

mkdir -p "$state/$name/credentials"
chown 0:0 "$state/$name" "$state/$name/credentials"
# A guest's root can leave a setuid-root file in its /var: no user of the host may come by it.
chmod 0700 "$state/$name" "$state/$name/credentials"

# Of a move into the host's sysroot that was killed: a definition follows on each.
[ -e "$state/$name/ostree" ] || rm -rf "$state/$name/.ostree.old" "$state/${name:?}/boot"

sent=$(received)
while read -r mode path content; do
    [ -n "$mode" ] || continue
    if [ "$mode" = - ]; then
        rm -f "$path"
        continue
    fi
    case $path in
    /etc/*)
        # shellcheck disable=SC2174 # all above it is there
        mkdir -p -m 0755 "${path%/*}"
        [ ! -e "$path" ] || grep -qxF '# Managed by pyinfra-nspawn' "$path" ||
            die "guest $name: $path is not ours: move it away, or give the guest another name; run again"
        ;;
    esac
    new=${path%/*}/.${path##*/}.new
    printf '%s' "$content" | base64 -d >"$new"
    chown 0:0 "$new"
    chmod "$mode" "$new"
    mv -fT "$new" "$path"
done <<EOF
$sent
EOF

[ -z "$reload" ] || systemctl daemon-reload
