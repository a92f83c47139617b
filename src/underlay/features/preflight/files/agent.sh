# Listen, probe and measure on one node without python3: a POSIX shell with socat, or with nc.
#
# It comes on the standard input of `sh -s`, behind the settings and the plan that shell.py writes:
# RUN (16 hex digits), ME, ADDRESS, SECOND (the IPv6 address besides, or nothing), WAIT, HALF, LEASE, DEADLINE, BUDGET (seconds) and the functions
# `listens` and `probes`, which print them. It answers with the same line of JSON as the python agent, keeps
# the same folder (go, results, stop, arrivals, lease) and speaks the same packets, so that nodes with
# and without python3 try each other. What the node's tools cannot do is `unknown` with the reason.

umask 077
trap '' USR1 HUP
now=$(date +%s.%N) grain=0
case $now in *[!0-9.]*) now=$(date +%s).5 grain=1 ;; esac
place=/tmp
[ -w /run ] && place=/run
folder=$place/underlay-preflight.$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')
mkdir "$folder" && cd "$folder" || exit 9
: > log

by=none tool="sh alone"
if command -v socat > /dev/null; then
    by=socat tool="sh, socat $(socat -V 2> /dev/null | sed -n 's/^socat version \([^ ]*\).*/\1/p')"
elif command -v nc > /dev/null; then
    case $(nc -h 2>&1 < /dev/null) in
        *OpenBSD*) by=nc tool="sh, nc (OpenBSD)" ;;
        *Ncat*) by=ncat tool="sh, nc (Ncat)" ;;
    esac
fi
from() { # own address: what is bound to, and of which family
    six='' near=$1 headers=28 ADDRESS=$1
    case $1 in *:*) six=6 near="[$1]" headers=48 ;; esac
}
from "$ADDRESS"
whole=$((${WAIT%.*} + 1))
export RUN ME
probes > plan

# A packet: magic, run, kind, source, number, value, which are 25 bytes, filled up with the run.
cat > packets << 'END'
magic=756e6465726c6179
bytes() { # hex digits as bytes, in the octal that every printf knows
    text='' rest=$1
    while [ "$rest" ]; do
        value=$((0x${rest%"${rest#??}"})) rest=${rest#??}
        text="$text\\$((value / 64))$((value / 8 % 8))$((value % 8))"
    done
    printf "$text"
}
packet() { # kind number value size
    bytes "$magic$RUN$(printf '%02x%04x%04x%08x' "$1" "$ME" "$2" "$3")"
    [ "$4" -le 25 ] || head -c $(($4 - 25)) fill
}
END
. ./packets
bytes "$RUN" > fill
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cat fill fill > fill.new && mv fill.new fill; done

# What a listener does with what it got: an echo, or for kind 1 a small packet that names the size.
cat > answer << 'END'
. ./packets
dd bs=65536 count=1 of=in.$$ 2> /dev/null
size=$(($(wc -c < in.$$)))
head=$(od -An -v -tx1 -N25 in.$$ | tr -d ' \n')
case $head in "$magic$RUN"??????????????????)
    rest=${head#"$magic$RUN"}
    kind=${rest%"${rest#??}"} rest=${rest#??}
    source=$((0x${rest%"${rest#????}"})) rest=${rest#????}
    number=$((0x${rest%"${rest#????}"}))
    if [ "$source" != "$ME" ]; then
        printf '["%s",%s,%s,"%s",1,%s]\n' "$1" "$2" "$source" "$SOCAT_PEERADDR" "$size" >> log
        # what is written at once is one datagram
        [ "$kind" != 01 ] || packet 1 "$number" "$size" 64 > in.$$
        cat in.$$
    fi ;;
esac
rm -f in.$$
END

listen() { # protocol port address, none for the node's own
    home=$ADDRESS
    from "${3:-$home}"
    port=$2 error=error.$1.$2
    case $by.$1 in
        socat.tcp) socat -b 65536 -t 5 -T 5 "TCP${six:-4}-LISTEN:$port,bind=$near,reuseaddr,fork,backlog=256,max-children=64" \
            SYSTEM:"sh answer tcp $port" < /dev/null > /dev/null 2> "$error" & ;;
        socat.udp) socat -b 65536 -t 5 -T 5 "UDP${six:-4}-RECVFROM:$port,bind=$near,fork" \
            SYSTEM:"sh answer udp $port" < /dev/null > /dev/null 2> "$error" & ;;
        nc.tcp) nc -lkd "$ADDRESS" "$port" < /dev/null > /dev/null 2> "$error" & ;;
        ncat.tcp) nc -lk --recv-only "$ADDRESS" "$port" < /dev/null > /dev/null 2> "$error" & ;;
        *) from "$home" && return ;;
    esac
    pids="$pids $!"
    from "$home"
}

bound() { # port: whether any socket has it
    grep -qs "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") 0*:0000 " /proc/net/tcp /proc/net/tcp6 \
        /proc/net/udp /proc/net/udp6
}

state() { # protocol port: listening, connect-only (nothing is echoed), served, or why not
    case $by.$1 in
        *.ipip | *.esp) echo "cannot listen: it needs python3" && return ;;
        none.*) echo "cannot listen: it needs python3, socat or a netcat that keeps listening" && return ;;
        nc*.udp) echo "cannot listen: nc serves one peer only; it needs python3 or socat" && return ;;
    esac
    if grep -qs 'already in use' "error.$1.$2"; then
        echo served
    elif grep -qs ' E \|^nc\|^Ncat' "error.$1.$2"; then
        echo "cannot listen: $(plain < "error.$1.$2")"
    elif [ "$by" = socat ]; then
        echo listening
    else
        echo connect-only
    fi
}

plain() { # the last line of a message, as it may stand in JSON
    tail -n 1 | sed 's/^.* [EF] //' | tr -cd 'A-Za-z0-9 .:()_/-' | head -c 120
}

# --- probes

outcome() { # address, of what went wrong: verdict|detail
    case $(cat "$err") in
        *'onnection refused'*) echo 'refused|' ;;
        *'not permitted'* | *'ermission denied'*) echo 'prohibited|by its own output filter' ;;
        *'o route to host'*)
            # a neighbour that answers ARP says this of itself only by its firewall
            case $(ip neigh show to "$1") in
                *lladdr*) echo 'prohibited|' ;;
                *) echo 'unreachable|No route to host, or a firewall on the way prohibits it' ;;
            esac ;;
        *'imed out'* | '') echo 'timeout|' ;;
        *'etwork is unreachable'*) echo 'unreachable|Network is unreachable' ;;
        *'onnection reset'*) echo 'closed|Connection reset by peer' ;;
        *) echo "error|$(plain < "$err")" ;;
    esac
}

exchange() { # way address port file bytes-wanted seconds [options]: what comes back is in $out
    : > "$out"
    far=$2
    case $far in *:*) far="[$far]" ;; esac
    case $by.$1 in
        socat.tcp) socat -b 65536 -t "$6" -T "$6" "TCP:$far:$3,bind=$near,connect-timeout=$6" \
            SYSTEM:"cat $4; head -c $5 > $out" < /dev/null 2> "$err" ;;
        socat.udp) socat -b 65536 -t "$6" -T "$6" "UDP:$far:$3,bind=$near$7" \
            SYSTEM:"cat $4; head -c $5 > $out" < /dev/null 2> "$err" ;;
        nc.tcp) nc -N -v -w $whole -s "$ADDRESS" "$2" "$3" < "$4" 2> "$err" | head -c "$5" > "$out" ;;
        nc.udp) nc -u -w 1 -s "$ADDRESS" "$2" "$3" < "$4" 2> "$err" | head -c "$5" > "$out" ;;
        ncat.tcp) nc -v -w $whole -s "$ADDRESS" "$2" "$3" < "$4" 2> "$err" | head -c "$5" > "$out" ;;
    esac
}

connect() { # address port: connect only
    far=$1
    case $far in *:*) far="[$far]" ;; esac
    case $by in
        socat) socat -u -T "$WAIT" /dev/null "TCP:$far:$2,bind=$near,connect-timeout=$WAIT" 2> "$err" ;;
        nc) nc -z -v -w $whole -s "$ADDRESS" "$1" "$2" > /dev/null 2> "$err" ;;
        ncat) nc -v -w $whole -s "$ADDRESS" "$1" "$2" < /dev/null > /dev/null 2> "$err" ;;
    esac
}

echoed() { # protocol address port size: verdict|detail
    cp "echo.$4" "data.$job"
    for _ in 1 2; do
        exchange "$1" "$2" "$3" "data.$job" "$4" "$WAIT"
        cmp -s "$out" "data.$job" && echo 'open|' && return
        [ "$1" = udp ] && [ ! -s "$out" ] && [ "$(outcome "$2")" = 'timeout|' ] || break
    done
    if [ -s "$out" ]; then
        if [ "$1" = udp ]; then
            echo "altered|$(($(wc -c < "$out"))) bytes came back of $4"
        else
            echo 'closed|another program answered'
        fi
    elif [ "$by" = nc ] && [ "$1" = udp ]; then
        echo 'timeout|nc does not tell a refusal from silence'
    else
        outcome "$2"
    fi
}

flow() { # peer address protocol port size
    case $3 in ipip | esp) echo 'unknown|it cannot be sent without python3' && return ;; esac
    case $by.$3 in
        none.*) echo 'unknown|it cannot be sent without python3, socat or nc' && return ;;
        ncat.udp) echo 'unknown|it cannot be sent with Ncat; it needs python3 or socat' && return ;;
    esac
    if grep -qF "[$1,\"$3\",$4]" go; then
        [ "$3" = udp ] && echo 'unknown|served' && return
        connect "$2" "$4" && echo 'open|served' && return
        outcome "$2"
        return
    fi
    echoed "$3" "$2" "$4" "$5"
}

elsewhere() ( # peer "own far far-port" protocol port size: a tunnel's, which has no TCP
    grep -qF "[$1,\"$3\",$4]" go && echo 'unknown|served' && return
    protocol=$3 size=$5
    set -- $2
    from "$1"
    # whether its port is served was asked above, of the port that the peer listens on
    flow - "$2" "$protocol" "$3" "$size"
)

icmp() { # address source
    command -v ping > /dev/null || { echo 'unknown|neither python3 nor ping is on it' && return; }
    for _ in 1 2 3; do
        ping -c 1 -W 1 -I "$2" "$1" > "$out" 2> "$err" && echo 'open|' && return
        grep -qi 'filtered\|prohibited' "$out" && echo 'prohibited|' && return
        grep -qi 'not permitted' "$err" && echo 'unknown|no right to send ICMP; run as root' && return
    done
    echo 'timeout|'
}

carries() { # address port size tries: whether a packet of that many bytes arrives, whole
    for _ in $4; do
        if [ "$2" != 0 ]; then
            packet 1 0 $(($3 - headers)) $(($3 - headers)) > "data.$job"
            # 3: do not fragment, whatever the kernel remembers of the path
            exchange udp "$1" "$2" "data.$job" 64 "$HALF" ,mtudiscover=3
            [ "$(od -An -v -tx1 -j21 -N4 "$out" | tr -d ' \n')" = "$(printf %08x $(($3 - headers)))" ] \
                && return
        else
            case $1 in *:*) body=$(($3 - 48)) source=${SECOND:-$ADDRESS} ;; *) body=$(($3 - 28)) source=$ADDRESS ;; esac
            ping -c 1 -W 1 -M do -s $body -I "$source" "$1" > /dev/null 2> "$err" && return
        fi
    done
    return 1
}

mtu() { # peer address port low high: the largest size that arrives
    port=$3
    if [ "$port" != 0 ] && { [ "$by" != socat ] || grep -qF "[$1,\"udp\",$port]" go; }; then port=0; fi
    while :; do
        if [ "$port" = 0 ] && ! ping -c 1 -W 1 -M do -s 56 127.0.0.1 > /dev/null 2>&1; then
            echo 'unknown|it needs python3, socat and an overlay port, or the ping of iputils'
            return
        fi
        carries "$2" "$port" "$5" "1 2" && echo "open|$5" && return
        carries "$2" "$port" "$4" "1 2" && break
        # where the port lets nothing through, an echo request may still tell
        [ "$port" != 0 ] && command -v ping > /dev/null || { echo 'timeout|0' && return; }
        port=0
    done
    low=$4 high=$5 again=''
    while :; do
        while [ $((high - low)) -gt 1 ]; do
            middle=$(((low + high) / 2))
            if carries "$2" "$port" $middle 1; then low=$middle; else high=$middle; fi
        done
        # a packet that was lost by chance is not a limit
        if [ -z "$again" ] && carries "$2" "$port" $high 1; then low=$high high=$5 again=1; else break; fi
    done
    echo "open|$low"
}

dns() { # way server query-in-hex
    [ "$by" = socat ] || { echo 'unknown|it cannot be asked without python3 or socat' && return; }
    case $1 in
        udp) skip=0 && bytes "$3" > "data.$job" ;;
        tcp) skip=2 && bytes "$(printf %04x $((${#3} / 2)))$3" > "data.$job" ;;
    esac
    for _ in 1 2; do
        near_was=$near
        case $2 in *:*) [ "$six" ] || near='[::]' ;; *) [ "$six" ] && near=0.0.0.0 ;; esac
        exchange "$1" "$2" 53 "data.$job" $((12 + skip)) "$WAIT"
        near=$near_was
        [ -s "$out" ] && break
    done
    head=$(od -An -v -tx1 -j$skip -N8 "$out" | tr -d ' \n')
    case $head in
        "${3%"${3#????}"}"????????????) code ;;
        '')
            if [ "$1" = tcp ] && [ ! -s "$err" ]; then
                echo 'closed|the server closed the connection'
            else
                outcome "$2"
            fi ;;
        *) echo 'timeout|' ;;
    esac
}

code() { # of the DNS header in $head: number, flags, questions, answers
    rest=${head#????}
    flags=${rest%"${rest#????}"} answers=${head#????????????}
    case ${flags#???}.$answers in
        0.0000) if [ $((0x$flags & 0x0200)) = 0 ]; then echo 'failed|no address'; else echo 'open|'; fi ;;
        0.*) echo 'open|' ;;
        2.*) echo 'failed|SERVFAIL' ;;
        3.*) echo 'failed|NXDOMAIN' ;;
        5.*) echo 'failed|REFUSED' ;;
        *) echo "failed|code $((0x${flags#???}))" ;;
    esac
}

cannot() { # why
    echo "unknown|$1"
}

seconds() { # since the machine started
    read -r up _ < /proc/uptime
    echo "${up%.*}"
}

worker() { # number: every WORKERS-th probe
    job=$1 out=out.$1 err=err.$1 line=0
    while IFS='|' read -r kind a b c d e key; do
        line=$((line + 1))
        [ $((line % WORKERS)) = "$job" ] || continue
        # without its folder the run is over
        [ -e lease ] || exit
        if [ "$(seconds)" -ge "$limit" ]; then
            said="unknown|not tried: without python3 there was no time for it"
        else
            said=$($kind "$a" "$b" "$c" "$d" "$e" < /dev/null)
        fi
        printf '[%s,"%s","%s",-1]\n' "$key" "${said%%|*}" "${said#*|}" >> "rows.$job"
    done < plan
}

begin() {
    for size in $(sed -n 's/^flow|[^|]*|[^|]*|[^|]*|[^|]*|\([0-9]*\)|.*/\1/p' plan | sort -u); do
        packet 0 0 0 "$size" > "echo.$size"
    done
    limit=$(($(seconds) + BUDGET))
    WORKERS=16 busy=''
    for each in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        worker $each &
        busy="$busy $!"
    done
    wait $busy
    rows results results rows.*
}

rows() { # file key files: one object whose list holds the lines of the files
    target=$1 name=$2
    shift 2
    {
        printf '{"%s":[' "$name"
        cat "$@" 2> /dev/null | sed '$!s/$/,/' | tr -d '\n'
        printf '],"notes":[]}\n'
    } > "$target.new"
    mv "$target.new" "$target"
}

# --- life

end() {
    kill $pids $probing 2> /dev/null
    wait
    trap - EXIT
}

live() {
    trap end EXIT
    begun=$(seconds) probing=''
    seen=$begun
    echo held > lease
    while now=$(seconds); [ $((now - begun)) -lt "$DEADLINE" ] && [ $((now - seen)) -lt "$LEASE" ]; do
        # who renews the lease empties the file
        [ -e lease ] || break
        [ -s lease ] || { seen=$now; echo held > lease; }
        if [ -z "$probing" ] && [ -e go ]; then
            begin &
            probing=$!
        fi
        if [ -e stop ]; then
            end
            rows arrivals arrivals log
            exit
        fi
        sleep 0.2 2> /dev/null || sleep 1
    done
    end
    cd / && rm -rf "$folder"
}

case "$(timedatectl show -p NTPSynchronized --value 2> /dev/null)" in
    yes) synchronised=true ;;
    no) synchronised=false ;;
    *) synchronised=null ;;
esac
pids=''
wanted=$(listens)
for pair in $wanted; do
    where=${pair#*@} pair=${pair%%@*}
    listen "${pair%:*}" "${pair#*:}" "$where"
done
wanted=$(for pair in $wanted; do echo "${pair%%@*}"; done)
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    waiting=''
    for pair in $wanted; do
        error=error.${pair%:*}.${pair#*:}
        [ ! -e "$error" ] || [ -s "$error" ] || bound "${pair#*:}" || waiting=1
    done
    [ "$waiting" ] || break
    sleep 0.2 2> /dev/null || sleep 1
done
states=''
for pair in $wanted; do
    states="$states,[\"${pair%:*}\",${pair#*:},\"$(state "${pair%:*}" "${pair#*:}")\"]"
done
# a function of its own would keep a copy of the output open
( live ) < /dev/null > /dev/null 2>&1 &
main=$!
# a loop that is killed leaves no listener either
(
    while kill -0 $main; do sleep 1; done
    kill $pids
    [ -e "$folder/arrivals" ] || rm -rf "$folder"
) < /dev/null > /dev/null 2>&1 &
printf '{"folder":"%s","pid":%s,"clock":%s,"grain":%s,"synchronised":%s,"tool":"%s","uid":%s,"listeners":[%s]}\n' \
    "$folder" $main "$now" $grain $synchronised "$tool" "$(id -u)" "${states#,}"
exit 0
