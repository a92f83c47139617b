#!/bin/sh
# Turn an unpacked base system into the root of a lab machine. Runs in a mount namespace of its own,
# so that whatever ends it leaves no mount behind.
# usage: node-root.sh ROOT FILES [IMAGE_ARCHIVE]
set -eu
R=$1 FILES=$2 ARCHIVE=${3:-}
install -m 755 "$FILES/lab-seed" "$R/usr/local/sbin/lab-seed"
install -m 644 "$FILES/lab-seed.service" "$R/etc/systemd/system/lab-seed.service"
mkdir -p "$R/etc/containerd" "$R/etc/systemd/journald.conf.d" "$R/etc/systemd/system.conf.d"
install -m 644 "$FILES/containerd.toml" "$R/etc/containerd/config.toml"
: > "$R/etc/machine-id"; : > "$R/etc/fstab"; : > "$R/etc/resolv.conf"
rm -f "$R/etc/hostname" "$R"/etc/ssh/ssh_host_*
# no PAM: nobody logs in by password, and its session costs a second of an emulated machine
printf 'UseDNS no\nUsePAM no\nHostKey /etc/ssh/ssh_host_ed25519_key\nMaxSessions 64\nMaxStartups 64\n' > "$R/etc/ssh/sshd_config.d/lab.conf"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=32M\n' > "$R/etc/systemd/journald.conf.d/lab.conf"
# an emulated machine is slow: a unit that takes long is not one that hangs
printf '[Manager]\nDefaultTimeoutStartSec=300s\n' > "$R/etc/systemd/system.conf.d/lab.conf"
# a small initramfs: only what the root disk needs
mkdir -p "$R/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=gzip\n' > "$R/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_net\nvirtio_blk\next4\ncrc32c_generic\n' > "$R/etc/initramfs-tools/modules"
mount -t proc proc "$R/proc"; mount -t sysfs sys "$R/sys"; mount --rbind /dev "$R/dev"
mount -t tmpfs tmpfs "$R/run"; mount -t tmpfs tmpfs "$R/tmp"
chroot "$R" update-initramfs -u >/dev/null 2>&1
chroot "$R" systemctl enable lab-seed ssh >/dev/null 2>&1
[ -e "$R/etc/systemd/system/kubelet.service" ] && chroot "$R" systemctl enable kubelet >/dev/null 2>&1
for unit in strongswan strongswan-starter chrony containerd apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap fstrim.timer nftables; do
  chroot "$R" systemctl disable "$unit" >/dev/null 2>&1 || :
done
chroot "$R" systemctl mask getty@tty1 serial-getty@ttyS0 systemd-timesyncd apt-daily.timer \
  apt-daily-upgrade.timer systemd-firstboot.service networking.service >/dev/null 2>&1
if [ -n "$ARCHIVE" ]; then
  cp "$ARCHIVE" "$R/tmp/image.tar"
  chroot "$R" containerd >/dev/null 2>"$R/tmp/containerd.log" & daemon=$!
  for _ in $(seq 150); do chroot "$R" ctr version >/dev/null 2>&1 && break; sleep .2; done
  chroot "$R" ctr -n k8s.io images import --digests=false /tmp/image.tar >/dev/null || {
    cat "$R/tmp/containerd.log" >&2; kill $daemon; exit 1; }
  kill $daemon; wait $daemon || :
fi
umount "$R/tmp" "$R/run"
rm -rf "$R"/var/cache/apt/* "$R"/var/lib/apt/lists/*
