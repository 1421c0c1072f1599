# A firewall between two networks. Its ports lead to the server, each through another fault; RULES=open: none.
#   5000 passes   5001 drops   5002 rejects with a reset   5003 rejects by ICMP   5004 forgets idle connections
#   5005 lets no packet through that is larger than a tunnel's, and does not say so (MTU black hole)
set -eu
server=$(getent ahostsv4 server | { read -r address _; echo "$address"; })
faults='
        ct original proto-dst 5001 drop
        ct original proto-dst 5002 reject with tcp reset
        ct original proto-dst 5003 reject with icmp type admin-prohibited
        ct original proto-dst 5004 jump idle
        ct original proto-dst 5005 meta length > 900 drop
'
[ "${RULES:-faults}" = open ] && faults=

# A table of its own: the engine keeps its name service in NAT rules, which must stay
nft -f - <<RULES
table ip relay {
    set alive {
        type ipv4_addr . inet_service
        flags dynamic,timeout
        timeout ${IDLE_SECONDS:-2}s
        size 4096
    }
    chain idle {
        tcp flags & (syn | ack) == syn update @alive { ct original ip saddr . ct original proto-src } accept
        ct original ip saddr . ct original proto-src @alive update @alive { ct original ip saddr . ct original proto-src } accept
        drop
    }
    chain to_server {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport 5000-5005 dnat to $server:5000
    }
    chain from_here {
        type nat hook postrouting priority srcnat; policy accept;
        ip daddr $server masquerade
    }
    chain between {
        type filter hook forward priority filter; policy accept;
        $faults
    }
}
RULES
echo "gateway: rules are in place"
# Nothing else to do; the shell waits, and ends on a signal
trap exit TERM INT
touch /tmp/ready
while :; do sleep 3600 & wait $!; done
