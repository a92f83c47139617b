#!/bin/sh
# Managed by underlay: bring a WireGuard interface to what its files say, keeping live sessions.
# usage: underlay-wireguard up|sync|down|refresh INTERFACE
# Keys stay in shell variables and files of mode 0600: an argument could be seen by anybody.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
action=$1 dev=$2
etc=/etc/underlay/wireguard run=/run/underlay-wireguard
umask 077
mkdir -p "$run"
exec 9>"$run/lock"
flock -w 60 9
fail() { echo "$dev: $*" >&2; exit 1; }

there() { ip link show dev "$dev" >/dev/null 2>&1; }

numeric() {
  case $1 in \[*) return 0 ;; esac
  case ${1%:*} in *[!0-9.]*) return 1 ;; esac
}

# wg's own configuration, secrets included, on a memory file system
configure() {
  key=$(cat "$etc/$dev.key") || fail "no key in $etc/$dev.key"
  [ ${#key} -eq 44 ] || fail "$etc/$dev.key is no key; remove it and apply again for a new one"
  peers=0
  while IFS= read -r line; do
    case $line in
      '[Interface]') printf '%s\nPrivateKey = %s\n' "$line" "$key" ;;
      '# node '*)
        peers=$((peers + 1))
        shared="$etc/psk/$dev/${line#\# node }"
        if [ "$PRESHARED" = 1 ]; then
          [ -s "$shared" ] || fail "no preshared key in $shared; apply again"
          printf 'PresharedKey = %s\n' "$(cat "$shared")"
        else
          # a peer without this line would keep a key that it had
          printf 'PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'
        fi
        ;;
      'Endpoint = '*) ! numeric "${line#Endpoint = }" || printf '%s\n' "$line" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done < "$etc/$dev.peers" > "$run/$dev.conf"
  # an empty or cut file would take every peer away, or those after the cut
  found=$(grep -c '^PublicKey = ' "$run/$dev.conf" || :)
  if [ "$(tail -n 1 "$run/$dev.conf")" != '# end' ] ||
    [ "$(grep -c '^\[Interface\]' "$run/$dev.conf")" != 1 ] || [ "$found" != "$peers" ] ||
    [ "$found" != "$(grep -c '^\[Peer\]' "$run/$dev.conf" || :)" ]; then
    rm -f "$run/$dev.conf"
    fail "$etc/$dev.peers is damaged, nothing was changed; apply again"
  fi
  wg syncconf "$dev" "$run/$dev.conf" ||
    { rm -f "$run/$dev.conf"; fail "wg refused $etc/$dev.peers, nothing was changed"; }
  rm -f "$run/$dev.conf"
}

create() {
  there && return
  ip link add dev "$dev" type wireguard 2>/dev/null && return
  for program in wireguard-go boringtun-cli boringtun; do
    command -v $program >/dev/null || continue
    # boringtun would become the user of a login, which a unit has not
    WG_SUDO=true $program "$dev" >/dev/null 2>&1 9>&- || fail "$program did not start"
    for _ in 1 2 3 4 5 6 7 8 9 10; do there && return; sleep 0.3; done
    fail "$program made no interface"
  done
  fail "the kernel has no module wireguard, and neither wireguard-go nor boringtun is installed"
}

# names are resolved apart, so that one that cannot be resolved does not keep the others away
names() {
  public=
  while IFS= read -r line; do
    case $line in
      'PublicKey = '*) public=${line#PublicKey = } ;;
      'Endpoint = '*)
        name=${line#Endpoint = }
        numeric "$name" && continue
        "$1" "$public" "$name" || continue
        if WG_ENDPOINT_RESOLUTION_RETRIES=1 wg set "$dev" peer "$public" endpoint "$name"; then
          remember "$public" "$name"
        else
          echo "$dev: $name cannot be resolved now" >&2
        fi
        ;;
    esac
  done < "$etc/$dev.peers"
}

# what a peer was last called by: it may roam, so its endpoint does not tell
remember() {
  { grep -vF "$1 " "$run/$dev.names" 2>/dev/null || :; echo "$1 $2"; } > "$run/$dev.names.new"
  mv -f "$run/$dev.names.new" "$run/$dev.names"
}

renamed() {
  without_endpoint "$1" || ! grep -qsxF "$1 $2" "$run/$dev.names"
}

without_endpoint() {
  wg show "$dev" endpoints | while read -r peer endpoint; do
    [ "$peer" = "$1" ] && [ "$endpoint" != "(none)" ] && echo has
  done | grep -q has && return 1
  return 0
}

# a session is renewed after two minutes; one that is older is in trouble, and of one that is of
# the future, because the clock was set back, nothing is known
silent() {
  last=$(wg show "$dev" latest-handshakes | while read -r peer time; do
    [ "$peer" != "$1" ] || echo "$time"; done)
  age=$(($(date +%s) - ${last:-0}))
  [ $age -gt 135 ] || [ $age -lt 0 ]
}

address() {
  for old in $(ip -o -4 addr show dev "$dev" | while read -r _ _ _ found _; do echo "$found"; done)
  do
    [ "$old" = "$ADDRESS" ] || ip addr del "$old" dev "$dev"
  done
  ip addr replace "$ADDRESS" dev "$dev"
  ip link set dev "$dev" mtu "$MTU" up
}

routes() {
  for old in $(ip -4 route show dev "$dev" proto "$PROTOCOL" | while read -r to _; do echo "$to"; done)
  do
    case " $ROUTES " in *" $old "*) ;; *) ip route del "$old" dev "$dev" proto "$PROTOCOL" ;; esac
  done
  for to in $ROUTES; do
    [ -n "$(ip -4 route show "$to" dev "$dev" proto "$PROTOCOL")" ] ||
      ip route add "$to" dev "$dev" proto "$PROTOCOL" || fail "$to has a route already"
  done
}

kernel() {
  if [ "$FORWARDS" = 1 ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 ]; then
    echo 1 > /proc/sys/net/ipv4/ip_forward
  fi
  # strict would drop what comes back another way; the larger of all and this one counts
  echo 2 > "/proc/sys/net/ipv4/conf/$dev/rp_filter"
}

# an accept in a table of nft's own could not overrule a drop in iptables' tables
firewall() {
  if command -v iptables >/dev/null; then
    chain iptables INPUT "UNDERLAY-I-$dev" "$2" -p udp --dport "$PORT" -j ACCEPT
    chain iptables FORWARD "UNDERLAY-F-$dev" "$1" -i "$dev" -o "$dev" -j ACCEPT
    # without IPv6 in the kernel it would only fail
    if command -v ip6tables >/dev/null && [ -e /proc/net/if_inet6 ]; then
      chain ip6tables INPUT "UNDERLAY-I-$dev" "$3" -p udp --dport "$PORT" -j ACCEPT
    fi
  elif command -v nft >/dev/null; then
    nft delete table inet "underlay-wireguard-$dev" 2>/dev/null || :
    [ "$1$2" != 00 ] || return 0
    {
      echo "table inet underlay-wireguard-$dev {"
      [ "$2" = 0 ] || echo "chain input { type filter hook input priority -1; udp dport $PORT accept; }"
      [ "$1" = 0 ] || echo "chain forward { type filter hook forward priority -1;" \
        "iifname \"$dev\" oifname \"$dev\" accept; }"
      echo "}"
    } | nft -f -
  fi
}

chain() {
  tables=$1 from=$2 own=$3 wanted=$4
  shift 4
  if [ "$wanted" = 1 ]; then
    [ "$("$tables" -w -S "$own" 2>/dev/null | sed 1d)" != "-A $own $(shown "$@")" ] || {
      "$tables" -w -C "$from" -j "$own" 2>/dev/null || "$tables" -w -I "$from" -j "$own"
      return 0
    }
    "$tables" -w -N "$own" 2>/dev/null || "$tables" -w -F "$own"
    "$tables" -w -A "$own" "$@"
    "$tables" -w -C "$from" -j "$own" 2>/dev/null || "$tables" -w -I "$from" -j "$own"
  elif "$tables" -w -S "$own" >/dev/null 2>&1; then
    while "$tables" -w -D "$from" -j "$own" 2>/dev/null; do :; done
    "$tables" -w -F "$own"
    "$tables" -w -X "$own"
  fi
}

# iptables names the match of a protocol when it prints a rule
shown() {
  case $1 in -p) echo "-p udp -m udp $3 $4 $5 $6" ;; *) echo "$@" ;; esac
}

case $action in
  up | sync)
    . "$etc/$dev.env"
    create
    configure
    address
    routes
    kernel
    firewall "$FORWARDS" "$OPENS" "${OPENS_V6:-0}"
    names renamed
    ;;
  refresh)
    . "$etc/$dev.env"
    ! there || names silent
    ;;
  down)
    PORT=0
    firewall 0 0 0
    ! there || ip link del dev "$dev"
    rm -f "$run/$dev.names"
    ;;
  *) fail "no such action: $action" ;;
esac
