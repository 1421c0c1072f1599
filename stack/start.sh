# Starts one of the programs in the foreground: start.sh NAME. ALLOW_PORT: what it lets out besides 443.
set -eu
export ALLOW_PORT="${ALLOW_PORT:-5000}"
fill() { sed "s/@ALLOW_PORT@/$ALLOW_PORT/g" "/stack/$1" >"/tmp/$1"; }

case $1 in
    squid | squid-parent)
        fill "$1.conf"
        exec squid -N -n "relay$$" -f "/tmp/$1.conf"
        ;;
    squid-inspect)
        fill squid-inspect.conf
        openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=inspection.test \
            -keyout /tmp/ca.pem -out /tmp/certificate.pem 2>/tmp/openssl.log
        cat /tmp/certificate.pem >>/tmp/ca.pem
        /usr/lib/squid/security_file_certgen -c -s /tmp/certificates -M 4MB
        exec squid -N -n "relay$$" -f /tmp/squid-inspect.conf
        ;;
    tinyproxy)
        fill tinyproxy.conf
        exec tinyproxy -d -c /tmp/tinyproxy.conf
        ;;
    apache)
        fill apache.conf
        exec apache2 -X -f /tmp/apache.conf
        ;;
    microsocks)
        exec microsocks -p "$SOCKS_PORT"
        ;;
    gateway)
        exec sh /stack/gateway.sh
        ;;
    *)
        echo "start.sh: $1: expected squid, squid-parent, squid-inspect, tinyproxy, apache, microsocks or gateway" >&2
        exit 2
        ;;
esac
