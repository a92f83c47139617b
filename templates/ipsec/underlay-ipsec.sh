#!/bin/sh
# Managed by underlay: routes, rules and interfaces of IPsec links, and that they are established.
# usage: underlay-ipsec start | refresh | up LINK | down LINK | prove LINK SECONDS fresh|kept
# Secrets are strongSwan's to read; this script never touches them.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
etc=/etc/underlay/ipsec run=/run/underlay-ipsec table=218
action=$1 link=${2-}
mkdir -p -m 0700 "$run"
exec 9>"$run/lock"
fail() { echo "$link: $*" >&2; exit 1; }
# seconds since the start of this host: its date may be set while something is waited for
clock() { read -r up _ < /proc/uptime; echo "${up%.*}"; }

links() {
  for file in "$etc"/*.env; do
    [ -e "$file" ] || continue
    name=${file##*/}
    echo "${name%.env}"
  done
}

# ours comes before every rule that could accept or masquerade first; Calico insists on its place,
# and asks its own pools before it masquerades
before_others() {
  iptables -w -t "$1" -S "$2" | while read -r word _ rest; do
    [ "$word" = -A ] || continue
    [ "$rest" != "-j $3" ] || { echo yes; break; }
    case $rest in *"-j IPSEC-"* | *"-j cali-"*) ;; *) break ;; esac
  done | grep -q yes
}

hook() {
  if [ "$4" = end ]; then
    iptables -w -t "$1" -C "$2" -j "$3" 2>/dev/null || iptables -w -t "$1" -A "$2" -j "$3"
    return
  fi
  ! before_others "$1" "$2" "$3" || return 0
  # one transaction, so that there is no moment without it
  {
    echo "*$1"
    iptables -w -t "$1" -S "$2" | grep -x -- "-A $2 -j $3" | sed 's/^-A/-D/' || :
    echo "-I $2 1 -j $3"
    echo COMMIT
  } | iptables-restore -w --noflush
}

hooks() {
  for found in $HOOKS; do
    own=${found#*:*:}
    start=${found#*:}
    "$1" "${found%%:*}" "${start%%:*}" "${own%:*}" "${found##*:}"
  done
}

unhook() {
  while iptables -w -t "$1" -D "$2" -j "$3" 2>/dev/null; do :; done
  iptables -w -t "$1" -F "$3" 2>/dev/null || :
  iptables -w -t "$1" -X "$3" 2>/dev/null || :
}

# iptables cannot hold back what masquerades in nft; a host whose nft cannot do this has only ours
exempt() {
  [ -e "$etc/$link.nft" ] && command -v nft >/dev/null || return 0
  nft -f "$etc/$link.nft" 2>/dev/null || :
}

# somebody may have flushed every table
exempted() {
  ! command -v nft >/dev/null || nft list table ip "underlay-ipsec-$link" >/dev/null 2>&1 || exempt
}

# what our table holds, as the plan writes it; ip leaves /32 out and says `default`
there() {
  ip -4 route show table $table 2>/dev/null | while read -r to next _; do
    [ "$to" != throw ] || to=$next
    case $to in default) to=0.0.0.0/0 ;; */*) ;; *) to=$to/32 ;; esac
    echo "$to"
  done
}

# a table of our own: routes of the main one stay as they are, and return when ours go
routes() {
  wanted=$(for link in $(links); do . "$etc/$link.env"
    for to in $ROUTES $SPARED; do echo "$to"; done; done)
  for old in $(there); do
    echo "$wanted" | grep -qx "$old" || ip -4 route del table $table "$old" ||
      ip -4 route del table $table throw "$old"
  done
  if [ -z "$wanted" ]; then
    ! ip -4 rule show pref $table | grep -q . || ip -4 rule del pref $table
  elif ! ip -4 rule show pref $table | grep -q "lookup $table"; then
    ip -4 rule add pref $table lookup $table
  fi
}

interface() {
  [ -n "$DEVICE" ] || return 0
  hex=$(printf '0x%x' "$IF_ID")
  if ip -d link show dev "$DEVICE" 2>/dev/null | grep -q "if_id" &&
    ! ip -d link show dev "$DEVICE" | grep -q "if_id $hex"; then
    ip link del dev "$DEVICE"
  fi
  ip link show dev "$DEVICE" >/dev/null 2>&1 || ip link add dev "$DEVICE" type xfrm if_id "$IF_ID"
  ip link set dev "$DEVICE" mtu "$MTU" up
  echo 2 > "/proc/sys/net/ipv4/conf/$DEVICE/rp_filter"
}

ways() {
  interface || fail "cannot make the interface $DEVICE"
  # goes on to the next table
  for to in $SPARED; do ip -4 route replace throw "$to" table $table; done
  for to in $ROUTES; do
    if [ -n "$DEVICE" ]; then
      ip -4 route replace "$to" dev "$DEVICE" mtu "$MTU" table $table || fail "no route to $to"
    else
      ip -4 route replace "$to" via "$VIA" mtu "$MTU" table $table || fail "no way to $VIA"
    fi
  done
}

up() {
  . "$etc/$link.env"
  # one transaction for each table: a packet sees the old rules or the new ones
  iptables-restore -w --noflush < "$etc/$link.rules" || fail "iptables refused $etc/$link.rules"
  hooks hook
  exempt
  ways
  if [ "$GATEWAY" = 1 ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 ]; then
    echo 1 > /proc/sys/net/ipv4/ip_forward
  fi
}

down() {
  [ -e "$etc/$link.env" ] || return 0
  . "$etc/$link.env"
  hooks unhook
  ! command -v nft >/dev/null || nft delete table ip "underlay-ipsec-$link" 2>/dev/null || :
  [ -z "$DEVICE" ] || ! ip link show dev "$DEVICE" >/dev/null 2>&1 || ip link del dev "$DEVICE"
  for to in $ROUTES; do ip -4 route del "$to" table $table 2>/dev/null || :; done
  for to in $SPARED; do ip -4 route del throw "$to" table $table 2>/dev/null || :; done
  # a refresh after this must not bring it back, and our rule must not count it
  rm -f "$etc/$link.env"
}

installed() { swanctl --list-sas --ike "$link" 2>/dev/null | grep -q "^ *$1: #.*INSTALLED"; }

# a child that came with the connection has none
exchanged() {
  swanctl --list-sas --ike "$link" --raw 2>/dev/null | tr '{' '\n' |
    grep "^name=$1 " | grep state=INSTALLED | grep -q dh-group=
}

# numbers of a child's live associations; a renewal makes another
numbers() {
  swanctl --list-sas --ike "$link" --raw 2>/dev/null | tr '{' '\n' | grep "^name=$1 " |
    grep state=INSTALLED | sed -n 's/.* uniqueid=\([0-9]*\) .*/\1/p'
}

# the far side may not be there yet; traffic and the next round try again
establish() {
  [ "$GATEWAY" = 1 ] && [ "$CALLS" = 1 ] || return 0
  missing=
  for child in $CHILDREN; do installed "$child" || missing="$missing $child"; done
  if [ -z "$missing" ]; then rm -f "$run/$link.missed"; return 0; fi
  # the second gateway waits a round, so that the two do not call each other at once
  if [ "$FIRST" = 0 ] && [ ! -e "$run/$link.missed" ]; then : > "$run/$link.missed"; return 0; fi
  for child in $missing; do
    swanctl --initiate --ike "$link" --child "$child" --timeout 12 >/dev/null 2>&1 || :
  done
}

# every child is made, and once more by an exchange of its own: the first one comes with the
# connection and would show at its first renewal only that the two sides disagree, on a key exchange
# that either side wants or does not want
prove() {
  made "$@"
  # what was agreed on: a far side may narrow the networks without a word
  swanctl --list-sas --ike "$link" --raw
}

made() {
  . "$etc/$link.env"
  seconds=$1
  end=$(($(clock) + seconds))
  if [ "$CALLS" = 0 ]; then
    for child in $CHILDREN; do
      until installed "$child"; do
        [ "$(clock)" -lt "$end" ] || { echo "failed $child waiting"; exit 1; }
        sleep 1
      done
    done
    return 0
  fi
  for child in $CHILDREN; do
    until installed "$child"; do
      log=$(swanctl --initiate --ike "$link" --child "$child" --timeout "$seconds" 2>&1) || {
        # a far side that is just reading its own files refuses for a moment
        if [ "$(clock)" -lt "$((end - seconds + 6))" ]; then sleep 2; continue; fi
        echo "failed $child initiate"
        echo "$log" | tail -n 25
        exit 1
      }
      [ "$(clock)" -lt "$end" ] || { echo "failed $child waiting"; exit 1; }
    done
  done
  [ "$2" = fresh ] || return 0
  for child in $CHILDREN; do
    ! exchanged "$child" || continue
    since=$(clock)
    mark=$(journalctl -q -n 1 -o cat --show-cursor 2>/dev/null | sed -n 's/^-- cursor: //p')
    old=$(numbers "$child")
    swanctl --rekey --ike "$link" --child "$child" >/dev/null 2>&1 || :
    until numbers "$child" | grep -qvxF "$old"; do
      if [ "$(clock)" -ge "$((since + 20))" ]; then
        echo "failed $child renew"
        journalctl -q -o cat -u strongswan ${mark:+--after-cursor="$mark"} | tail -n 25
        exit 1
      fi
      sleep 0.5
    done
  done
}

case $action in
  start | refresh)
    if [ "$action" = refresh ]; then flock -n 9 || exit 0; else flock -w 60 9; fi
    status=0
    for link in $(links); do
      if [ "$action" = start ]; then (up) || status=1; else
        (. "$etc/$link.env"; { hooks hook && exempted && ways; } 2>/dev/null || up
          establish) || status=1
      fi
    done
    routes
    exit $status
    ;;
  up) flock -w 60 9; up; routes ;;
  down) flock -w 60 9; down; routes ;;
  prove) flock -w 90 9; prove "$3" "$4" ;;
  *) fail "no such action: $action" ;;
esac
