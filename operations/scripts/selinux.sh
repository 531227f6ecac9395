# shellcheck shell=sh
# selinux MODE: now, and in /etc/selinux/config for the next boot.
mode=$1

setenforce "$mode"
cp -p /etc/selinux/config /etc/selinux/.config.new
sed "s/^SELINUX=.*/SELINUX=$mode/" /etc/selinux/config >/etc/selinux/.config.new
mv -fT /etc/selinux/.config.new /etc/selinux/config
