# shellcheck shell=sh
# removal NAME [purge]: the guest's unit, files and deployments; with purge its /var too. What tells that there is
# something left to remove goes last.
name=$1 purge=$2
unit=systemd-nspawn@$name.service
dropins=/etc/systemd/system/$unit.d
own=$state/$name

systemctl disable --now "$unit"
for path in "/etc/systemd/nspawn/$name.nspawn" "$dropins/50-ostree.conf" "$dropins/60-limits.conf"; do
    ! grep -qsxF '# Managed by pyinfra-nspawn' "$path" || rm "$path"
done
rmdir "$dropins" 2>/dev/null || :
systemctl daemon-reload
systemctl reset-failed "$unit" 2>/dev/null || :

deployments() {
    ostree admin --sysroot="$own" status | grep -c "^[* ] $name " || :
}

if [ -e "$own/ostree/repo/config" ]; then
    left=$(deployments)
    while [ "$left" -gt 0 ]; do
        left=$((left - 1))
        ostree admin --sysroot="$own" undeploy "$left"
    done
    ostree admin --sysroot="$own" cleanup
fi
rm -rf "$own/credentials" "$own/current"
[ -z "$purge" ] || rm -rf --one-file-system "$own"
