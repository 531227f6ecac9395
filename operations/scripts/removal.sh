# shellcheck shell=sh
# removal NAME [purge]: the guest's unit, files and deployments, in whatever sysroot; with purge its /var too. What tells
# that there is something left to remove goes last.
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
rm -rf --one-file-system "/run/pyinfra-nspawn/$name"

if [ -L "$own/stateroot" ]; then
    undeploy shared "$name"
    [ -z "$purge" ] || rm -rf --one-file-system "/sysroot/ostree/deploy/$name"
fi
[ ! -e "$own/ostree/repo/config" ] || undeploy private "$name"
rm -rf "$own/credentials" "$own/current"
[ -z "$purge" ] || rm -rf --one-file-system "$own"
