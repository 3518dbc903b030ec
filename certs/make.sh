#!/bin/sh
# Makes a CA and a serving certificate signed by it, both ECDSA P-256, for the webhook's Service.
# Writes ca.crt, ca.key, tls.crt and tls.key; prints the caBundle for a webhook configuration on stdout.
set -eu

usage() {
    cat <<'TEXT'
usage: certs/make.sh [--out DIR] [--days N] [--force] [HOST...]

  HOST...     names and IP addresses that the certificate is for; default: the names of the Service
              sidecarset-webhook in the namespace sidecarset-system
  --out DIR   where the files go; default: the folder of this script
  --days N    how long the serving certificate is valid; default 365. The CA lives ten years
  --force     replace the serving certificate; a CA that is there is kept and signs the new one
TEXT
}

fail() {
    echo "make.sh: $*" >&2
    exit 2
}

out=$(dirname "$0")
days=365
force=no
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out needs a folder} && shift 2 ;;
    --days) days=${2:?--days needs a number} && shift 2 ;;
    --force) force=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && fail "unknown option $1" ;;
    *) break ;;
    esac
done
if [ $# -eq 0 ]; then
    set -- sidecarset-webhook.sidecarset-system.svc sidecarset-webhook.sidecarset-system.svc.cluster.local
fi
case $days in '' | *[!0-9]*) fail "--days is '$days', it must be a whole number" ;; esac
command -v openssl >/dev/null || fail "openssl is not installed"
mkdir -p "$out"
if [ -e "$out/tls.crt" ] && [ $force = no ]; then
    fail "$out/tls.crt is there already; --force replaces it"
fi

names=
for host in "$@"; do
    case $host in
    *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) names=$names,IP:$host ;;
    *) names=$names,DNS:$host ;;
    esac
done

umask 077
request=$(mktemp)
trap 'rm -f "$request"' EXIT
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -e "$out/ca.key" ]; then
    key "$out/ca.key"
    openssl req -x509 -new -sha256 -key "$out/ca.key" -days 3650 -subj '/CN=sidecarset CA' \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' -out "$out/ca.crt"
fi

# Written beside the old pair and moved at the end, so that a failure leaves the old pair as it was.
key "$out/tls.key.new"
openssl req -new -sha256 -key "$out/tls.key.new" -subj "/CN=sidecarset webhook" -out "$request"
printf '%s\n' "subjectAltName=${names#,}" 'basicConstraints=critical,CA:FALSE' \
    'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth' |
    openssl x509 -req -sha256 -in "$request" -CA "$out/ca.crt" -CAkey "$out/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -days "$days" -extfile /dev/stdin -out "$out/tls.crt.new" 2>/dev/null
openssl verify -CAfile "$out/ca.crt" "$out/tls.crt.new" >/dev/null
mv "$out/tls.key.new" "$out/tls.key"
mv "$out/tls.crt.new" "$out/tls.crt"

echo "wrote $out/ca.crt, $out/tls.crt and $out/tls.key for $*" >&2
base64 <"$out/ca.crt" | tr -d '\n'
echo
