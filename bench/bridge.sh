#!/usr/bin/env bash
# The bridge beside the server behind it, in one run, rounds interleaved: fetching sealed messages, describing them from the
# index, indexing them for the first time; plain mail; memory. Everything on loopback, ended at the end.
# usage: bridge.sh      env: W (work directory), B (mailbench), BIN, OPENING (the crypto crate's example), ROUNDS (3),
# SCALE (percent of the messages, 100)
set -euo pipefail
W=${W:?set W to a work directory} B=${B:-$W/bin/mailbench} ROUNDS=${ROUNDS:-3} SCALE=${SCALE:-100}
root=$(cd "$(dirname "$0")/.." && pwd)
BIN=${BIN:-$root/target/release/sealpost} OPENING=${OPENING:-$root/target/release/examples/opening}
dir=$W/bridge
rm -rf "$dir" && mkdir -p "$dir"
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap finish EXIT
say() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$@"; }
resident() { awk '/VmRSS/ {r = $2} /VmHWM/ {h = $2} END {printf "%.1f MiB, peak %.1f MiB", r / 1024, h / 1024}' "/proc/$1/status"; }

"$BIN" --dir "$dir/demo" --json demo --keep --no-limits </dev/null >"$dir/demo.json" 2>"$dir/demo.log" &
pids+=($!)
until [ -s "$dir/demo.json" ]; do sleep 0.1; done
demo=$dir/demo.json
client=$(say "$demo" 'd["users"][1]["client_dir"]')
user=$(say "$demo" 'd["users"][1]["address"]')
straight=(--addr "$(say "$demo" 'd["servers"][1]["imaps"]')" --user "$user" --pass "$(say "$demo" 'd["users"][1]["app_password"]')" --tls 1)

# A bridge with other options, in the place of the one before.
bridge() {
  if [ -n "${running:-}" ]; then kill "$running" && wait "$running" 2>/dev/null || true; fi
  : >"$dir/bridge.json"
  "$BIN" --dir "$client" --json bridge "$@" </dev/null >"$dir/bridge.json" 2>"$dir/bridge.log" &
  running=$!
  pids+=("$running")
  until [ -s "$dir/bridge.json" ]; do sleep 0.1; done
  through=(--addr "$(say "$dir/bridge.json" 'd["imap"]')" --user "$user" --pass "$(say "$dir/bridge.json" 'd["accounts"][0]["password"]')" --tls 1)
}
fill() { # mailbox, messages, options
  "$B" imap "${straight[@]}" --repeat 1 --cmd "CREATE $1" >/dev/null
  "$B" append --mailbox "$1" -n "$2" -c 10 --min 4096 --max 4096 "${@:3}" | tail -1
}
# Seconds of one command on a mailbox: straight, or through the bridge.
seconds() {
  "$B" imap "${@:3}" --repeat 1 --cmd "EXAMINE $1" --cmd "$2" | sed -n 's/.*cmd="FETCH .* median_ms=\([0-9.]*\).*/\1/p' | awk '{print $1 / 1000}'
}
median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
compare() { # what, mailbox, command straight, command through the bridge
  : >"$dir/a" && : >"$dir/b"
  for _ in $(seq "$ROUNDS"); do
    seconds "$2" "$3" "${straight[@]}" >>"$dir/a"
    seconds "$2" "$4" "${through[@]}" >>"$dir/b"
  done
  awk -v w="$1" -v a="$(median <"$dir/a")" -v b="$(median <"$dir/b")" 'BEGIN {printf "%s: server %.3f s, bridge %.3f s, ratio %.2f\n", w, a, b, b / a}'
}

n() { echo $(($1 * SCALE / 100)); }
bridge --no-background-index
fill sealed "$(n 1000)" "${through[@]}" --from "$user"
fill large "$(n 100)" "${through[@]}" --from "$user" --min 1000000 --max 1000000
fill many "$(n 10000)" "${through[@]}" --from "$user"
fill plain "$(n 100000)" "${straight[@]}"

echo "memory with nothing asked: $(resident "$running")"
bridge --no-background-index --rebuild-index
for round in $(seq "$ROUNDS"); do
  a=$(seconds many 'FETCH 1:* (BODY.PEEK[])' "${straight[@]}") b=$(seconds many 'FETCH 1:* (ENVELOPE)' "${through[@]}")
  echo "first ENVELOPEs of $(n 10000) sealed messages of 4 KiB, round $round: server BODY.PEEK[] $a s, bridge $b s, ratio $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", b / a}'); $(resident "$running")"
  [ "$round" = "$ROUNDS" ] || bridge --no-background-index --rebuild-index
done
echo "the cryptography alone of $(n 10000) such messages, on all cores: $("$OPENING" "$(n 10000)" 4096 "$ROUNDS") s"
compare "ENVELOPEs of $(n 10000) indexed messages" many 'FETCH 1:* (ENVELOPE)' 'FETCH 1:* (ENVELOPE)'
compare "FLAGS of $(n 10000) indexed messages" many 'FETCH 1:* (FLAGS)' 'FETCH 1:* (FLAGS)'
seconds sealed 'FETCH 1:* (ENVELOPE)' "${through[@]}" >/dev/null
compare "BODY[] of $(n 1000) indexed messages of 4 KiB" sealed 'FETCH 1:* (BODY.PEEK[])' 'FETCH 1:* (BODY.PEEK[])'
seconds large 'FETCH 1:* (ENVELOPE)' "${through[@]}" >/dev/null
compare "BODY[] of $(n 100) indexed messages of 1 MB" large 'FETCH 1:* (BODY.PEEK[])' 'FETCH 1:* (BODY.PEEK[])'
echo "memory after that: $(resident "$running")"
for what in 'first' 'second'; do
  a=$(seconds plain 'FETCH 1:* (ENVELOPE)' "${straight[@]}") b=$(seconds plain 'FETCH 1:* (ENVELOPE)' "${through[@]}")
  echo "ENVELOPEs of $(n 100000) plain messages, $what time: server $a s, bridge $b s, ratio $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", b / a}'); $(resident "$running")"
done

# Three accounts whose indexes are complete, at rest.
third=carol@${user#*@} secret=$dir/carol.password
umask 077
echo 'correct horse battery staple, and carol' >"$secret"
"$BIN" --json user add "$third" --config "$(say "$demo" 'd["servers"][1]["config"]')" >"$dir/code.json" 2>/dev/null
say "$dir/code.json" 'd["code"]' >"$dir/code"
"$BIN" --dir "$dir/carol" --json --password-file "$secret" --dns "$(say "$demo" 'd["dns"]')" \
  --ca-file "$(say "$demo" 'd["ca_file"]')" --mx-port "$(say "$demo" 'd["servers"][1]["smtp"].rsplit(":", 1)[1]')" \
  enrol "$third" --code-file "$dir/code" </dev/null >/dev/null 2>"$dir/enrol.log"
both=(--account "$(say "$demo" 'd["users"][0]["client_dir"]')" --account "$dir/carol")
bridge "${both[@]}"
indexed() { "$BIN" --dir "$client" --json bridge info >"$dir/info.json" && [ "$(say "$dir/info.json" '(d["index"] or {}).get("left")')" = 0 ]; }
until indexed; do sleep 1; done
bridge "${both[@]}"
sleep 5
echo "memory with three accounts at rest: $(resident "$running"), of its own $(awk '/RssAnon/ {printf "%.1f MiB", $2 / 1024}' "/proc/$running/status")"
