"""Python's poplib against a server: HOST PORT_OF_STLS PORT_OF_TLS CA_FILE USER PASSWORD COUNT.

The maildrop holds COUNT messages. Prints ok at the end; what it removed (the second message) is gone then.
"""

import poplib
import ssl
import sys

host, stls, tls, ca, user, password, count = sys.argv[1:]
count = int(count)
context = ssl.create_default_context(cafile=ca)


def open_tls():
    return poplib.POP3_SSL(host, int(tls), timeout=60, context=context)


def refused(call, *args):
    try:
        call(*args)
    except poplib.error_proto as error:
        return str(error)
    raise SystemExit(f"{call} was taken")


# Before TLS no password is taken, and TLS takes everything back.
p = poplib.POP3(host, int(stls), timeout=60)
before = p.capa()
assert "STLS" in before and "USER" not in before and "SASL" not in before, before
assert "begin TLS" in refused(p.user, user)
p.stls(context=context)
inside = p.capa()
assert "STLS" not in inside and "USER" in inside and "PLAIN" in inside["SASL"], inside
assert inside["EXPIRE"] == ["NEVER"] and "PIPELINING" in inside, inside
p.user(user)
assert "[AUTH]" in refused(p.pass_, "wrong")
p.user(user)
p.pass_(password)
assert p.stat()[0] == count, p.stat()
p.quit()

p = open_tls()
assert "is not offered" in refused(p.apop, user, password) or "APOP not supported" in refused(p.apop, user, password)
p.user(user)
p.pass_(password)
messages, octets = p.stat()
listed = [line.split() for line in p.list()[1]]
ids = [line.split()[1] for line in p.uidl()[1]]
assert messages == len(listed) == len(ids) == len(set(ids)) == count
sizes = []
for number, size in listed:
    number, size = int(number), int(size)
    _, lines, got = p.retr(number)
    # poplib counts without dots; each line had a CRLF.
    assert sum(len(line) + 2 for line in lines) == size, (number, size, got)
    _, top, _ = p.top(number, 1)
    assert top == lines[: len(top)] and b"" in top, number
    sizes.append(size)
assert sum(sizes) == octets
assert "no such message" in refused(p.retr, count + 1)
p.dele(1)
assert "deleted" in refused(p.retr, 1)
p.rset()
p.dele(2)
assert p.stat()[0] == count - 1
p.noop()
p.quit()

# A connection that breaks removes nothing.
p = open_tls()
p.user(user)
p.pass_(password)
p.dele(1)
p.close()

p = open_tls()
p.user(user)
p.pass_(password)
left = [line.split()[1] for line in p.uidl()[1]]
assert left == ids[:1] + ids[2:], (left, ids)
p.quit()
print("ok")
