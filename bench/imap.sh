#!/bin/bash
# IMAP timings on one mailbox. usage: imap.sh LABEL fill N | append | run        env: W ADDR USER_ PASS_ (x) CONN_OPTS ("--tls 1")
# fill N: N messages of 4 KiB in INBOX: APPEND over 10 connections (prints APPEND/s), above 10000 by COPY. append: APPEND/s at 1 and 10 connections to a mailbox "app".
set -u; W=${W:?}; B=${B:-$W/bin/mailbench}; A="--addr ${ADDR:?} --user ${USER_:?} --pass ${PASS_:-x} ${CONN_OPTS:-}"
L=$1; case $2 in
fill) n=$(( $3 > 10000 ? 10000 : $3 )); echo "$L $($B append $A --mailbox INBOX -n $n -c 10 --min 4096 --max 4096)"   # above 10000: COPY 1:10000 onto the mailbox itself
  for k in $(seq 2 $(( $3 / 10000 ))); do $B imap $A --repeat 1 --cmd "SELECT INBOX" --cmd "COPY 1:10000 INBOX" | grep COPY | sed "s/^/$L /"; done ;;
append) $B imap $A --cmd "CREATE app" --repeat 1 >/dev/null
  for r in 1 2 3; do for c in 1 10; do echo "$L $($B append $A --mailbox app -n $((c==1?600:2000)) -c $c --min 4096 --max 4096)"; done; done ;;
run) $B imap $A --repeat 3 --cmd "SELECT INBOX" --cmd "FETCH 1:* (FLAGS)" --cmd "FETCH 1:* (UID FLAGS)" --cmd "FETCH 1:* (ENVELOPE)" --cmd "FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID References Content-Type)])" --cmd "FETCH 1:* (BODY.PEEK[])" \
   --cmd 'UID SEARCH SUBJECT "topic77"' --cmd 'UID SEARCH BODY "topic77"' --cmd 'UID SEARCH TEXT "topic77"' --cmd 'UID SEARCH TEXT "zqzqzq"' --cmd "SEARCH UNSEEN" | sed "s/^/$L /" ;;
esac
