#!/bin/bash
# Inbound SMTP: accepted/s, and delivered/s (time until every message is in its mailbox). Works on any server.
# usage: inbound.sh LABEL DOMAIN SIZE CONNS N [PER_CONN=0 keep-alive|1] [TLS=0|1 STARTTLS] [extra mailbench send options]
# env: W, ADDR (SMTP), RUNS (3), and how "delivered" is known, one of:
#   IMAP=host:port IUSER='u{c}@dom' IPASS=x   sum of STATUS (MESSAGES) over BOXES (100) mailboxes grows by N   (any server)
#   QDIRS="dir ..."                            no file left below these queue directories                   (Postfix, OpenSMTPD, chasquid)
#   neither: delivery is at 250 (accepted = delivered)
# recipients are u0..u99@DOMAIN in turn. Prints TSV: label size conns per_conn tls n run accept_s accept/s p50_us p99_us deliver_s deliver/s ok errs load
set -u
W=${W:?set W to a work directory}; B=${B:-$W/bin/mailbench}; ADDR=${ADDR:-127.0.0.1:2525}; BOXES=${BOXES:-100}
L=$1 D=$2 SZ=$3 C=$4 N=$5 PC=${6:-0} T=${7:-0}; shift $(( $# < 7 ? $# : 7 ))
for r in $(seq 1 ${RUNS:-3}); do
  base=0; [ -n "${IMAP:-}" ] && base=$($B count ${IMAPOPT:-} --addr $IMAP --user "$IUSER" --pass "${IPASS:-x}" -c $BOXES)
  sync; sleep 0.3; load=$(cut -d' ' -f1 /proc/loadavg); t0=$(date +%s.%N)
  o=$($B send --addr $ADDR --rcpt "u{m}@$D" --mod $BOXES --size $SZ -n $N -c $C --per-conn $PC --starttls $T "$@")
  t1=$(date +%s.%N)
  if [ -n "${QDIRS:-}" ]; then for i in $(seq 1 2400); do [ -z "$(find $QDIRS -type f -print -quit 2>/dev/null)" ] && break; sleep 0.05; done
  elif [ -n "${IMAP:-}" ]; then got=$($B count ${IMAPOPT:-} --addr $IMAP --user "$IUSER" --pass "${IPASS:-x}" -c $BOXES); now=1   # all there at the first look: delivered at t1
    [ "$got" -ge $((base+N)) ] || { now=0; got=$($B count ${IMAPOPT:-} --addr $IMAP --user "$IUSER" --pass "${IPASS:-x}" -c $BOXES --until $((base+N))); }; [ "$got" = $((base+N)) ] || echo "# $L: count $got, wanted $((base+N))"; fi
  t2=$(date +%s.%N); [ -z "${QDIRS:-}" ] && [ "${now:-0}" = 1 ] && t2=$t1
  echo "$o" | grep error: >&2
  echo "$o" | awk -v l="$L" -v sz=$SZ -v c=$C -v pc=$PC -v t=$T -v n=$N -v r=$r -v a=$t0 -v b=$t1 -v d=$t2 -v ld=$load '
    /^send/ {for(i=1;i<=NF;i++){split($i,k,"=");v[k[1]]=k[2]} m=$0; ok=0; if(match(m,/"250": [0-9]+/)) ok=substr(m,RSTART+7,RLENGTH-7);
      del=d-a; if(del<v["secs"]) del=v["secs"];
      printf "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t%.0f\t%d\t%d\t%.2f\t%.0f\t%d\t%d\t%s\n",l,sz,c,pc,t,n,r,v["secs"],ok/v["secs"],v["p50_us"],v["p99_us"],del,ok/del,ok,v["errs"],ld}'
done
