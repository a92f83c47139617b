#!/bin/sh
# Turn an unpacked set of packages (no maintainer scripts ran) into the root of the one container
# image that serves as pause, kube-proxy, echo server and probe client.
# usage: container-root.sh ROOT FILES KUBE_PROXY
set -eu
R=$1 FILES=$2 PROXY=$3
# packages of newer suites are all below /usr, and base-files, which makes the links, is not here
for d in bin sbin lib lib64; do
  [ -e "$R/$d" ] || [ ! -d "$R/usr/$d" ] || ln -s "usr/$d" "$R/$d"
done
for family in iptables ip6tables; do
  for suffix in "" -save -restore; do
    ln -sf "$family-nft$suffix" "$R/usr/sbin/$family$suffix"
  done
done
mkdir -p "$R/usr/local/bin" "$R/lib/modules" "$R/tmp" "$R/run"
install -m 755 "$PROXY" "$R/usr/local/bin/kube-proxy"
install -m 755 "$FILES/echo.py" "$R/usr/local/bin/echo.py"
for applet in sh ls cat sleep wget nc ip ping hostname env grep sed awk ps mkdir rm cp mv ln date \
  head tail cut tr sort uname id test timeout nslookup kill; do
  [ -e "$R/bin/$applet" ] || [ -e "$R/usr/bin/$applet" ] || ln -s busybox "$R/bin/$applet"
done
printf '#!/bin/sh\ntrap "exit 0" TERM INT\nwhile :; do sleep 3600 & wait $!; done\n' > "$R/pause"
chmod 755 "$R/pause"
echo 'root:x:0:0:root:/:/bin/sh' > "$R/etc/passwd"
rm -rf "$R"/var/cache/apt "$R"/var/lib/apt "$R"/usr/share/doc "$R"/usr/share/locale "$R"/var/lib/dpkg/info
