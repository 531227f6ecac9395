# shellcheck shell=sh
# The same first run as tests/bench.py makes with pyinfra, as an administrator would write it down once.
set -eu
guest=web
own=/var/lib/pyinfra-nspawn/$guest
dropins=/etc/systemd/system/systemd-nspawn@$guest.service.d

printf 'fs.inotify.max_user_instances = 144\n' >/etc/sysctl.d/60-pyinfra-nspawn.conf
sysctl -q -p /etc/sysctl.d/60-pyinfra-nspawn.conf
systemctl -q enable machines.target

commit=$(ostree admin status | sed -n 's/^\* [^ ]* \([0-9a-f]*\)\..*/\1/p')
mkdir -m 0700 /var/lib/pyinfra-nspawn "$own" "$own/credentials"
# The path beside the host's objects, so that they are linked and not copied.
beside=/sysroot/ostree/deploy/host$own
ostree admin init-fs --modern "$beside"
ostree admin --sysroot="$beside" os-init "$guest"
ostree pull-local --repo="$beside/ostree/repo" /ostree/repo "$commit"
ostree admin --sysroot="$beside" deploy --os="$guest" --karg-none "$commit"
ln -s "ostree/deploy/$guest/deploy/$commit.0" "$own/current"

printf 'd /root/.ssh 0700 root root\nf+ /root/.ssh/authorized_keys 0600 root root - %s\n' \
    'ssh-ed25519\x20AAAAC3NzaC1lZDI1NTE5AAAAIJ\x20me' >"$own/credentials/tmpfiles.extra"
mkdir -p "$dropins" /etc/systemd/nspawn
cat >/etc/systemd/nspawn/$guest.nspawn <<EOF
[Exec]
Boot=yes
NotifyReady=yes
Hostname=$guest

[Network]
VirtualEthernet=yes
EOF
cat >"$dropins/50-ostree.conf" <<EOF
[Service]
BindPaths=$own/current/etc:/run/pyinfra-nspawn/$guest/etc
ExecStart=
ExecStart=systemd-nspawn --quiet --keep-unit --boot --settings=override --machine=%i \
    --directory=$own/current --read-only --private-users=pick --private-users-ownership=map \
    --bind=/run/pyinfra-nspawn/$guest/etc:/etc:idmap --bind=$own/ostree/deploy/$guest/var:/var:idmap \
    --load-credential=tmpfiles.extra:$own/credentials/tmpfiles.extra \
    --link-journal=no --resolv-conf=off --timezone=off
ExecStopPost=
DeviceAllow=
DeviceAllow=char-pts rw
DeviceAllow=/dev/net/tun rwm
EOF
systemctl daemon-reload
systemctl -q enable --now systemd-nspawn@$guest
systemctl -M $guest is-system-running --wait
