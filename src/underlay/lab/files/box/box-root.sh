#!/bin/sh
# Turn the root of a lab machine into that of a Vagrant box: no seed, but DHCP, the user `vagrant`
# with the key that every Vagrant knows and replaces at its first login, and host keys made at boot.
# Runs in a mount namespace of its own.
# usage: box-root.sh ROOT FILES
set -eu
R=$1 FILES=$2
chroot "$R" systemctl disable lab-seed >/dev/null 2>&1
rm "$R/etc/systemd/system/lab-seed.service" "$R/usr/local/sbin/lab-seed"
echo underlay > "$R/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 underlay\n' > "$R/etc/hosts"
install -m 644 "$FILES/dhcp.network" "$R/etc/systemd/network/90-box.network"
mkdir -p "$R/etc/systemd/system/ssh.service.d"
install -m 644 "$FILES/host-keys.conf" "$R/etc/systemd/system/ssh.service.d/host-keys.conf"
chroot "$R" systemctl enable systemd-networkd >/dev/null 2>&1
chroot "$R" systemctl mask systemd-networkd-wait-online >/dev/null 2>&1
chroot "$R" useradd --create-home --shell /bin/bash vagrant
# `*` is no password but no lock either: sshd without PAM refuses a locked account even its key
chroot "$R" usermod --password '*' vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$R/etc/sudoers.d/vagrant"
chmod 440 "$R/etc/sudoers.d/vagrant"
install -d -m 700 "$R/home/vagrant/.ssh"
install -m 600 "$FILES/vagrant.pub" "$R/home/vagrant/.ssh/authorized_keys"
chroot "$R" chown -R vagrant:vagrant /home/vagrant/.ssh
