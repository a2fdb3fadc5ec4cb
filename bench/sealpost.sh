#!/usr/bin/env bash
# A private Sealpost on loopback with the accounts that the load needs: u0 … u99, big, huge and app at bench.example, one app
# password for all. usage: sealpost.sh setup|start|stop|pid   (env W = work directory, BIN = the program)
set -euo pipefail
W=${W:?set W to a work directory}
BIN=${BIN:-$(cd "$(dirname "$0")/.." && pwd)/target/release/sealpost}
dir=$W/sealpost
start() {
  ulimit -n "$(ulimit -H -n)"
  SEALPOST_LOG=${SEALPOST_LOG:-info} "$BIN" serve --config "$dir/sealpost.toml" </dev/null >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  for _ in $(seq 100); do
    if (exec 3<>/dev/tcp/127.0.0.1/3525) 2>/dev/null; then return; fi
    sleep 0.05
  done
  echo "sealpost.sh: the server did not come up, see $dir/log" >&2
  exit 1
}
stop() {
  [ -s "$dir/pid" ] || return 0
  kill "$(cat "$dir/pid")" 2>/dev/null || true
  while kill -0 "$(cat "$dir/pid")" 2>/dev/null; do sleep 0.05; done
  rm -f "$dir/pid"
}
setup() {
  stop
  rm -rf "$dir"
  mkdir -p "$dir"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj /CN=mail.bench.example -addext subjectAltName=DNS:mail.bench.example \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
  cat >"$dir/sealpost.toml" <<TOML
hostname = "mail.bench.example"
domains = ["bench.example"]
data_dir = "$dir/data"
dns = "127.0.0.1:5399"
[tls]
cert = "cert.pem"
key = "key.pem"
[listen]
smtp = "127.0.0.1:3525"
submission = "127.0.0.1:3587"
submissions = "127.0.0.1:3465"
imap = "127.0.0.1:3143"
imaps = "127.0.0.1:3993"
[limits]
no_limits = true
TOML
  (umask 077 && echo bench-token-0123456789abcdef >"$dir/token")
  start
  for user in $(seq -f u%g 0 99) big huge app; do
    "$BIN" user add "$user@bench.example" --config "$dir/sealpost.toml" >/dev/null
    "$BIN" app-password add "$user@bench.example" bench --token-file "$dir/token" --config "$dir/sealpost.toml" >/dev/null
  done
}
case ${1:-} in
  setup | start | stop) "$1" ;;
  pid) cat "$dir/pid" ;;
  *) echo "usage: sealpost.sh setup|start|stop|pid" >&2; exit 2 ;;
esac
