"""Hostile and odd input against a running server, by sentence of the profile: `probes.py SEALPOST DEMO_DIR`.

DEMO_DIR is what `sealpost demo --keep --no-limits --dir DEMO_DIR` serves; limits, signals and crashes are tried on a
server of its own, started here. Login hashes are random octets: a server cannot tell them from Argon2id's. Prints one
line a check and `N passed, M failed`.
"""
import json, os, secrets, signal, socket, statistics, subprocess, tempfile, threading, time

from checks import *
from wire import *

COST = (19456, 2, 1)
INVALID = "535 5.7.8 Authentication credentials invalid"
AUTH_FIRST = "530 5.7.0 Authentication required"
AGAIN = "554 5.5.1 Key salt or key changed, start again"


def tls(server=NET, hello=True):
    s = Smtp(server["submissions"], CA, server["host"], implicit=True)
    if hello:
        s.cmd("EHLO probe.example")
    return s


def plain(server=NET, port="smtp"):
    s = Smtp(server[port], CA, server["host"])
    s.cmd("EHLO probe.example")
    return s


def app_password(server, address, name):
    token = secrets.token_urlsafe(24)
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(token + "\n")
        f.flush()
        admin(server, "app-password", "add", address, name, "--token-file", f.name)
    return token


def enrol_line(address, code, salt=None, raw=None, cost=COST):
    return f"XENROL {address} {code} {b64(phc(cost, salt or secrets.token_bytes(16), raw or secrets.token_bytes(32)))}"


class User:
    """A fresh, enrolled account."""

    def __init__(self, server=NET, name="probe"):
        self.server, self.address = server, f"{name}-{secrets.token_hex(4)}@example.net"
        self.enrol(admin(server, "user", "add", self.address)["code"])
        self.key = None

    def enrol(self, code):
        self.raw, self.login_salt = secrets.token_bytes(32), secrets.token_bytes(16)
        eq(tls(self.server).one(enrol_line(self.address, code, self.login_salt, self.raw)), "250 2.0.0 OK")

    def session(self):
        s = tls(self.server)
        salt = s.auth(self.address, self.raw)
        assert isinstance(salt, bytes), salt
        return s, salt

    def publish(self, s=None, created=-1000):
        s = s or self.session()[0]
        self.key = random_key()
        self.statement = statement(self.address, self.key, created=created)
        eq(s.one(f"SETPUBKEY {self.key.wire} {self.statement}"), "250 OK")
        return s


def reads(s, n):
    return [s.reply()[0] for _ in range(n)]


def keyring_put(s, replaces, data):
    s.send(f"XKEYRING {replaces} {len(data)}\r\n".encode() + data)
    return s.reply()[0]


def keyring_get(s):
    lines = s.cmd("XKEYRING")
    return lines[0] if lines[0].startswith("550") else unb64("".join(l[4:] for l in lines))


def gone(s):
    """The session was ended, with a 421 if anything was said."""
    s.sock.settimeout(15)
    try:
        line = s.line()
    except (EOFError, ConnectionError, ssl.SSLError):
        return True
    starts(line, "421 ")
    return s.closed()


# --- lines and commands (profile §5, RFC 5321 §4.5.3.1) ---

@check("§5 lines: 12,288 octets for the draft's verbs, AUTH and its answers, 512 for others, and the session goes on")
def _():
    s = tls()
    for verb, limit, fits in (("PUBKEY", 12288, "501"), ("XKEYINFO", 12288, "501"), ("SETPUBKEY", 12288, "530"), ("GETSALT", 12288, "530"),
                              ("RSTSALT", 12288, "530"), ("XENROL", 12288, "501"), ("XPASSWD", 12288, "530"), ("AUTH HASHEDPASS", 12288, "501"),
                              ("AUTH PLAIN", 12288, "501"), ("NOOP", 512, "250"), ("FOO", 512, "500")):
        for total in (limit, limit + 1, limit + 2, limit + 70000):
            got = s.one(verb + " " + "A" * (total - len(verb) - 3))
            starts(got, fits if total == limit else "500 5.5.")
    for total, want in ((12288, "501 5.5.2"), (12289, "500 5.5.6"), (12290, "500 5.5.6"), (50000, "500 5.5.6")):
        eq(s.one("AUTH HASHEDPASS"), "334 ")
        starts(s.one("A" * (total - 2)), want)
    # cut anywhere, the same
    s.send("pub")
    time.sleep(0.05)
    s.send("KEY nobody@exam")
    time.sleep(0.05)
    s.send("ple.net\r")
    time.sleep(0.05)
    s.send("\n")
    eq(s.reply()[0], "550 No public key available for nobody@example.net")
    assert s.alive()


@check("RFC 5321: odd commands get their reply and the session goes on")
def _():
    s = plain()
    for line, want in (("VRFY alice", "252"), ("HELP", "214"), ("HELP MAIL", "214"), ("NOOP with words", "250"), ("EXPN x", "502"), ("", "500"), (" NOOP", "500"),
                       ("EHLO", "501"), ("EHLO a b", "501"), ("HELO", "501"), ("EHLO [127.0.0.1]", "250"), ("RSET x", "501"), ("QUIT x", "501"),
                       ("STARTTLS x", "501"), ("DATA", "503"), ("RCPT TO:<a@example.net>", "503"), ("MAIL FROM:", "501"), ("MAIL", "501"), ("mail from:<>", "250"),
                       ("MAIL FROM:<>", "503"), ("DATA x", "501"), ("DATA", "503"), ("RCPT TO:<>", "501"), ("RCPT TO:<postmaster>", "250"), ("RCPT TO:<POSTMASTER@EXAMPLE.NET>", "250"),
                       ("RSET", "250"), ("MAIL FROM:<@a.example,@b.example:x@c.example>", "250"), ("RSET", "250"), ('MAIL FROM:<"a b>@"@c.example>', "250"), ("RSET", "250"),
                       ("MAIL FROM:<x@[192.0.2.1]>", "250"), ("RCPT TO:<@relay.example:" + ALICE["address"] + ">", "250"), ('RCPT TO:<"alice"@example.net>', "250"),
                       ("RCPT TO:<alice+tag@EXAMPLE.net>", "250"), ("RCPT TO:<x@[127.0.0.2]>", "550"), ("RCPT TO:<alice@example.net> NOTIFY=NEVER", "555"),
                       ("RCPT TO:<ä@example.net>", "553"), ("RSET", "250"), ("MAIL FROM:<ä@example.org>", "553"), ("MAIL FROM:<x@c.example> SIZE=104857601", "552 5.3.4"),
                       ("MAIL FROM:<x@c.example> SIZE=104857600 BODY=8BITMIME SMTPUTF8", "250"), ("RCPT TO:<ä@example.net>", "550 5.1.1"), ("RSET", "250"),
                       ("MAIL FROM:<x@c.example> BODY=BINARYMIME", "501"), ("MAIL FROM:<x@c.example> FOO=1", "555"), ("AUTH", "530"), ("XKEYRING", "530"), ("GETSALT x", "530")):
        starts(s.cmd(line)[0], want)
    s.send(b"NOOP \0\r\n")
    starts(s.reply()[0], "500")
    s.send(b"PUBKEY \xff@example.net\r\n")
    starts(s.reply()[0], "501 5.1.3")
    s.send(b"NOOP a\nNOOP b\r\n")  # a bare LF ends no line
    starts(s.reply()[0], "500")
    s.send(b"NOOP\r\n")
    starts(s.reply()[0], "250")
    eq(s.buf, b"")


@check("RFC 3030: BDAT's octets are read whatever the answer")
def _():
    s = plain()
    evil = b"QUIT\r\n"
    for before in ([], ["MAIL FROM:<x@c.example>"]):
        for c in before:
            s.one(c)
        s.send(b"BDAT %d LAST\r\n" % len(evil) + evil)
        starts(s.reply()[0], "503")
    s.one("RSET")

    def open_(rcpt=ALICE["address"]):
        starts(s.one("MAIL FROM:<x@c.example>"), "250")
        starts(s.one(f"RCPT TO:<{rcpt}>"), "250")
    open_()
    s.send(b"BDAT 0\r\nBDAT 12\r\nSubject: x\r\nBDAT 0 LAST\r\n")
    for r in reads(s, 3):
        starts(r, "250")
    open_()
    s.send(b"BDAT 3\r\nA: ")
    starts(s.reply()[0], "250")
    starts(s.one("DATA"), "503")
    starts(s.one("MAIL FROM:<y@c.example>"), "503")
    starts(s.one(f"PUBKEY {ALICE['address']}"), "220")
    starts(s.one("RSET"), "250")
    s.send(b"BDAT 6 LAST\r\n" + evil)
    starts(s.reply()[0], "503")
    open_()
    s.send(b"BDAT 9\r\nA: b\r\n\r\n")
    s.send(b"\nBDAT 5 LAST\r\nhi\0\r\n")
    starts(s.reply()[0], "250")
    starts(s.reply()[0], "550")
    assert s.alive()
    open_()
    s.send("BDAT 8 LAST\r\nA: b\r\n\r\nQUIT\r\n")
    starts(s.reply()[0], "250")
    starts(s.reply()[0], "221")
    for bad in ("BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 5\tLAST", "BDAT " + "1" * 600):
        s = plain()
        s.one("MAIL FROM:<x@c.example>")
        s.send(bad + "\r\nQUIT\r\n")
        starts(s.reply()[0], "501")
        assert s.closed(), bad


@check("RFC 2920, §5: pipelined with DATA, replies in order, the end found wherever the octets are cut")
def _():
    s = plain()
    s.send(f"MAIL FROM:<x@c.example>\r\nRCPT TO:<{ALICE['address']}>\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\n")
    eq([r[:3] for r in reads(s, 4)], ["250", "250", "550", "354"])
    for c in b"Subject: cut\r\n\r\n..\r\n.x\r\n.\r\n":
        s.send(bytes([c]))
    starts(s.reply()[0], "250")
    s.send(f"MAIL FROM:<>\r\nRCPT TO:<{ALICE['address']}>\r\nDATA\r\n")
    reads(s, 3)
    s.send(".\r\nNOOP\r\nMAIL FROM:<x@c.example>\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\nQUIT\r\n")
    eq([r[:3] for r in reads(s, 6)], ["250", "250", "250", "550", "503", "221"])


@check("§10: NUL and bare CR or LF are refused at the end, long lines and 8-bit text are taken")
def _():
    s = plain()
    for body, want in ((b"A: b\r\n\r\n" + b"x" * 5000 + b"\r\n", "250"), ("A: b\r\n\r\nGrüße\r\n".encode(), "250"), (b"A: b\r\n\r\n\0\r\n", "550"),
                       (b"A: b\r\n\r\na\rb\r\n", "550 5.6.11"), (b"A: b\r\n\r\na\nb\r\n", "550 5.6.11"), (b"", "250"), (b"\r\n", "250"),
                       (b"Received: by x; Mon, 23 Nov 2026 10:00:00 +0000\r\n" * 101 + b"\r\nx\r\n", "554 5.4.6"),
                       (b"Received: by x; Mon, 23 Nov 2026 10:00:00 +0000\r\n" * 30 + b"\r\nx\r\n", "250")):
        s.one("MAIL FROM:<x@c.example>")
        s.one(f"RCPT TO:<{ALICE['address']}>")
        starts(s.one("DATA"), "354")
        s.send(body + b".\r\n")
        starts(s.reply()[0], want)


@check("R10 R11 §5: what is an address, and what of it comes back")
def _():
    s = plain()
    local, label = "x" * 64, ".".join(["d" * 61] * 4)
    for good in ('"a b"@example.net', '"a@b"@example.net', '"\\""@example.net', "!#$%&'*+-/=?^_`{|}~@example.net", local + "@example.net", "üñ@example.net", "a@EXAMPLE.net",
                 "x+y+z@example.net", '""@example.net'):
        for form in (good, f"<{good}>"):
            eq(s.one("PUBKEY " + form), "550 No public key available for " + good)
    for foreign in ("a@" + label[:253], "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@bücher.example", "a@example.net.example", "a@sub.example.net"):
        eq(s.one("PUBKEY " + foreign), "551 5.7.1 Not a domain of this server")
    for bad in (local + "x@example.net", "a@" + label + "." + "d" * 8, "a@[192.0.2.300]", "a@[nonsense", "a..b@example.net", ".a@example.net", "a.@example.net", "a b@example.net", '"a@example.net', "a@-x.example",
                "a@x..example", "a@", "@", "<>", "<<a@example.net>>", "a@example.net>", "a(c)@example.net", "Postmaster", "ü" * 33 + "@example.net"):
        starts(s.one("PUBKEY " + bad), "501 5.1.3")
        starts(s.one("XKEYINFO " + bad), "501 5.1.3")
    eq(s.one("PUBKEY ALICE+tag@example.net"), s.one("PUBKEY " + ALICE["address"]))
    assert s.alive()


@check("RFC 1870, RFC 5321: a message too large is 552 after its end, by DATA and BDAT; a thousand recipients, then 452")
def _():
    s = plain()
    s.send("MAIL FROM:<x@c.example>\r\n" + f"RCPT TO:<{ALICE['address']}>\r\n" * 1001 + "RSET\r\n")
    got = reads(s, 1003)
    eq(([r[:3] for r in got[1:1001]], got[1001][:9], got[1002][:3]), (["250"] * 1000, "452 4.5.3", "250"))
    piece = (b"x" * 998 + b"\r\n") * 1024
    s.one("MAIL FROM:<x@c.example>")
    s.one(f"RCPT TO:<{ALICE['address']}>")
    s.one("DATA")
    for _ in range(104857600 // len(piece) + 1):
        s.send(piece)
    s.send(".\r\n")
    starts(s.reply()[0], "552 5.3.4")
    s.one("MAIL FROM:<x@c.example>")
    s.one(f"RCPT TO:<{ALICE['address']}>")
    s.send(b"BDAT 104857601 LAST\r\n")
    left = 104857601
    while left:
        s.send(piece[:left])
        left -= min(left, len(piece))
    starts(s.reply()[0], "552 5.3.4")
    assert s.alive()


# --- TLS ---

@check("TLS 1.2 and 1.3, on 465 and by STARTTLS; nothing older; plain text behind STARTTLS is never run")
def _():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for port in ("smtp", "submission", "submissions"):
            s = Smtp.__new__(Smtp)
            s.ctx, s.host, s.buf = ssl.create_default_context(cafile=CA), NET["host"], b""
            s.ctx.minimum_version = s.ctx.maximum_version = version
            ip, n = NET[port].rsplit(":", 1)
            s.sock = socket.create_connection((ip, int(n)), TIMEOUT)
            if port == "submissions":
                s.sock = s.ctx.wrap_socket(s.sock, server_hostname=s.host)
                s.reply()
            else:
                s.reply()
                s.cmd("EHLO a")
                s.one("MAIL FROM:<x@c.example>")
                s.starttls()
                starts(s.one("MAIL FROM:<x@c.example>"), "503")
            s.cmd("EHLO a")
            eq(s.sock.version(), "TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
            starts(s.one("STARTTLS"), "503")
    s = plain()
    s.send(b"STARTTLS\r\nMAIL FROM:<evil@c.example>\r\nRCPT TO:<" + ALICE["address"].encode() + b">\r\n")
    starts(s.reply()[0], "220")
    s.sock = s.ctx.wrap_socket(s.sock, server_hostname=s.host)
    starts(s.one("RCPT TO:<x@example.net>"), "503")
    starts(s.one("NOOP"), "250")


# --- signing in (profile §4) ---

@check("R15 R18 §4: forms of AUTH; signed in on port 25 is a submission session")
def _():
    u = User()
    token = app_password(NET, u.address, "one")
    s = tls()
    enc = lambda *parts: b64(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts))
    full = b64(u.raw)
    for line, want in (("AUTH", "501"), ("AUTH CRAM-MD5", "504"), ("AUTH HASHEDPASS a b", "501"), ("AUTH PLAIN =", "501"), ("AUTH LOGIN =", "501"), ("AUTH HASHEDPASS =", "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", u.address, full).rstrip("="), None), ("AUTH HASHEDPASS " + enc("", u.address, full[:43]), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", u.address, full[:42] + ("B=" if full[42] != "B" else "C=")), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", u.address, full.replace("=", "")), "501 5.5.2"), ("AUTH HASHEDPASS " + enc("", u.address, " " + full[:43]), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", " " + u.address, full), "501 5.5.2"), ("AUTH HASHEDPASS " + enc("", u.address + ".", full), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", '"probe"@example.net', full), "501 5.5.2"), ("AUTH HASHEDPASS " + enc("", "e\u0301@example.net", full), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", b"\xff@example.net", full), "501 5.5.2"), ("AUTH HASHEDPASS " + enc("", "a@EXAMPLE.net", ""), "501 5.5.2"),
                       ("AUTH HASHEDPASS " + enc("", "a@exämple.net", ""), "501 5.5.2"), ("AUTH HASHEDPASS " + enc("", "a+tag@example.net", b64(bytes(32))), INVALID),
                       ("AUTH HASHEDPASS " + enc("", "x@elsewhere.example", b64(bytes(32))), INVALID), ("AUTH PLAIN " + enc("", u.address, ""), "501"),
                       ("AUTH PLAIN " + enc("other", u.address, token), "501"), ("AUTH PLAIN " + enc("", u.address, "wrong" * 5), INVALID)):
        if want:
            starts(s.one(line), want)
    for mechanism, first in (("HASHEDPASS", "334 "), ("PLAIN", "334 "), ("LOGIN", "334 VXNlcm5hbWU6")):
        eq(s.one("AUTH " + mechanism.lower()), first)
        starts(s.one("*"), "501")
        eq(s.one("AUTH " + mechanism), first)
        starts(s.one("!"), "501")
    eq(s.one("AUTH LOGIN " + b64(u.address)), "334 UGFzc3dvcmQ6")
    eq(s.one(b64(full)), INVALID)
    eq(s.one("AUTH LOGIN"), "334 VXNlcm5hbWU6")
    eq(s.one(b64(u.address.upper())), "334 UGFzc3dvcmQ6")
    starts(s.one(b64(token)), "235 2.7.0")
    starts(s.one("AUTH PLAIN " + enc("", u.address, token)), "503")
    for c in ("GETSALT", "RSTSALT", "SETPUBKEY " + random_key().wire, "XPASSWD a b c", "XKEYRING"):
        eq(s.one(c), AUTH_FIRST)
    eq(keyring_put(s, "none", b"QUIT\r\n"), AUTH_FIRST)
    starts(s.one("PUBKEY " + DEMO["users"][1]["address"]), "220 ")
    # port 25
    s = plain()
    s.starttls()
    s.cmd("EHLO a")
    assert isinstance(s.auth(u.address, u.raw), bytes)
    starts(s.one(f"MAIL FROM:<{ALICE['address']}>"), "553")
    starts(s.one("MAIL FROM:<>"), "553")
    starts(s.one(f"MAIL FROM:<{u.address.replace('@', '+x@')}>"), "250")
    starts(s.one("RCPT TO:<anybody@elsewhere.example>"), "250")
    starts(s.one("RCPT TO:<anybody@[192.0.2.1]>"), "550")
    starts(s.one("AUTH PLAIN " + enc("", u.address, token)), "503")
    starts(s.one("RSET"), "250")
    for header in (f"From: {ALICE['address']}", f"from : {ALICE['address']}", f"FROM:\r\n {ALICE['address']}", f"From: {u.address}, {ALICE['address']}",
                   f"From: {u.address}\r\nFrom: {ALICE['address']}", f"From: group: {ALICE['address']};", f'From: "{u.address}" <{ALICE["address"]}>',
                   f"From: {u.address} (x) <{ALICE['address']}>", "From: not an address", f"junk line\r\nFrom: {ALICE['address']}", "From:"):
        s.one(f"MAIL FROM:<{u.address}>")
        s.one(f"RCPT TO:<{ALICE['address']}>")
        s.one("DATA")
        s.send(f"{header}\r\nSubject: not mine\r\n\r\nx\r\n.\r\n")
        starts(s.reply()[0], "550 5.7.1")
    for header in (f"From: Me <{u.address}>", f"From: {u.address.replace('@', '+x@')}"):
        s.one(f"MAIL FROM:<{u.address}>")
        s.one(f"RCPT TO:<{u.address}>")
        s.one("DATA")
        s.send(f"{header}\r\nSubject: mine\r\n\r\nx\r\n.\r\n")
        starts(s.reply()[0], "250")


@check("R07 §5: XENROL: code first, the code lives on after a 501, reset withdraws what it must and keeps the rest")
def _():
    u = User()
    code = admin(NET, "user", "add", f"x-{secrets.token_hex(4)}@example.net")
    s = tls()
    for bad in (enrol_line(code["address"], "x" * 40, salt=b"short"), enrol_line(code["address"], "x" * 40, cost=(1, 1, 1)), f"XENROL {code['address']} xxxx !!!",
                enrol_line("nobody@example.net", code["code"]), enrol_line("not-an-address", code["code"]), enrol_line(code["address"].upper().replace("X-", "Y-"), code["code"]),
                enrol_line(u.address, code["code"])):
        eq(s.one(bad), INVALID)
    for bad in (enrol_line(code["address"], code["code"], salt=bytes(15)), enrol_line(code["address"], code["code"], salt=u.login_salt), f"XENROL {code['address']} {code['code']} !!!",
                *(enrol_line(code["address"], code["code"], cost=c) for c in ((19455, 2, 1), (19456, 1, 1), (1048577, 2, 1), (19456, 17, 1), (19456, 2, 9), (19456, 2, 0)))):
        starts(s.one(bad), "501 5.5.4")
    starts(s.one("XENROL a b"), "501")
    eq(s.one(enrol_line(code["address"], code["code"])), "250 2.0.0 OK")
    eq(s.one(enrol_line(code["address"], code["code"])), INVALID)
    # reset of an account with a key
    token = app_password(NET, u.address, "one")
    s = u.publish()
    ring = keyring(u.address, 1, u.key)
    eq(keyring_put(s, "none", ring), "250 OK")
    app = tls()
    starts(app.one("AUTH PLAIN " + b64(f"\0{u.address}\0{token}")), "235")
    _, salt = u.session()
    old_key, old_raw = u.key, u.raw
    new = admin(NET, "user", "reset", u.address)["code"]
    assert s.alive() and app.alive()  # nothing happens before the code is used
    eq(s.one("PUBKEY " + u.address), "220 ed25519 " + old_key.wire)
    u.enrol(new)
    assert gone(s) and gone(app)
    eq(tls().auth(u.address, old_raw), INVALID)
    eq(tls().one("AUTH PLAIN " + b64(f"\0{u.address}\0{token}")), INVALID)
    s, new_salt = u.session()
    assert new_salt != salt
    eq(s.one("PUBKEY " + u.address), "550 No public key available for " + u.address)
    eq(s.one("XKEYINFO " + u.address), "220 " + u.statement)
    eq(keyring_get(s), ring)
    starts(s.one(f"SETPUBKEY {random_key().wire} {u.statement}"), "501 5.5.4")
    key = random_key()
    eq(s.one(f"SETPUBKEY {key.wire} {statement(u.address, key, previous=old_key)}"), AGAIN)
    starts(s.one(f"SETPUBKEY {key.wire} {statement(u.address, key, created=-5000)}"), "501 5.5.4")
    st = statement(u.address, key)
    eq(s.one(f"SETPUBKEY {key.wire} {st}"), "250 OK")
    eq(s.cmd("XKEYINFO " + u.address), ["220-" + st, "220 " + u.statement])


@check("§5: enrolling an account without a key revokes no app password and closes no session of one")
def _():
    address = f"x-{secrets.token_hex(4)}@example.net"
    code = admin(NET, "user", "add", address)["code"]
    token = app_password(NET, address, "early")
    app = tls()
    starts(app.one("AUTH PLAIN " + b64(f"\0{address}\0{token}")), "235")
    eq(tls().one(enrol_line(address, code)), "250 2.0.0 OK")
    assert app.alive()
    starts(tls().one("AUTH PLAIN " + b64(f"\0{address}\0{token}")), "235")


# --- salts, keys, keyrings (profile §5, §9) ---

@check("R14 R05 §9: pending salts in every order")
def _():
    u = User()
    s, salt = u.session()
    other, _ = u.session()
    # no key is published: at once
    first = unb64(s.one("RSTSALT")[9:])
    assert first != salt
    eq(other.one("GETSALT"), "220 SALT " + b64(first))
    fresh, told = u.session()
    eq(told, first)
    # ... and a session that was told the old one starts again
    third, _ = u.session()
    second = unb64(s.one("RSTSALT")[9:])
    key = random_key()
    eq(third.one(f"SETPUBKEY {key.wire} {statement(u.address, key)}"), AGAIN)
    third.one("GETSALT")
    u.key = key
    u.statement = statement(u.address, key, created=-1000)
    eq(third.one(f"SETPUBKEY {key.wire} {u.statement}"), "250 OK")
    # a key is published now: pending, twice, the second replaces the first and drops the staged keyring
    s, salt = u.session()
    eq(salt, second)
    a = unb64(s.one("RSTSALT")[9:])
    eq(keyring_put(s, "none", b"first"), "250 OK")
    b = unb64(s.one("RSTSALT")[9:])
    assert len({salt, a, b}) == 3
    eq(s.one("GETSALT"), "220 SALT " + b64(b))
    starts(keyring_get(s), "550")
    # a renewal leaves salt and keyring pending
    eq(keyring_put(s, "none", b"second"), "250 OK")
    renewed = statement(u.address, key, created=-500)
    eq(s.one(f"SETPUBKEY {key.wire} {renewed}"), "250 OK")
    starts(keyring_get(s), "550")
    eq(s.one("GETSALT"), "220 SALT " + b64(b))
    eq(other.one("GETSALT"), "220 SALT " + b64(second))
    for bad in ("", statement(u.address, key, created=-500), statement(u.address, key, created=-600), statement(u.address, key, previous=random_key()), statement(u.address, key, created=2 * 86400)):
        starts(s.one(f"SETPUBKEY {key.wire} {bad}"), "501 5.5.4")
    # the wrong previous changes nothing; then everything at once
    new = random_key()
    eq(s.one(f"SETPUBKEY {new.wire} {statement(u.address, new)}"), AGAIN)
    starts(s.one(f"SETPUBKEY {new.wire} {statement(u.address, new, previous=key, created=-700)}"), "501 5.5.4")
    starts(s.one(f"SETPUBKEY {new.wire} {statement(u.address, new, previous=key, created=2 * 86400)}"), "501 5.5.4")
    eq(s.one("GETSALT"), "220 SALT " + b64(b))
    eq(s.one(f"SETPUBKEY {new.wire} {statement(u.address, new, previous=key)}"), "250 OK")
    eq(other.one("GETSALT"), "220 SALT " + b64(b))
    eq(keyring_get(s), b"second")
    starts(other.one("PUBKEY " + u.address), "220 ed25519 " + new.wire)
    # a session that saw nothing of it, and one whose pending salt is late
    late, _ = u.session()
    late.one("RSTSALT")
    without = random_key()
    eq(s.one(f"SETPUBKEY {without.wire}"), "250 OK")  # no statement: the chain is kept and does not lead to it
    starts(s.cmd("XKEYINFO " + u.address)[0], "220-")
    eq(late.one(f"SETPUBKEY {key.wire} {statement(u.address, key, previous=new)}"), AGAIN)
    eq(late.one("GETSALT")[:9], "220 SALT ")
    starts(s.one(f"SETPUBKEY {without.wire} {statement(u.address, without)}"), "501 5.5.4")
    again = random_key()
    eq(s.one(f"SETPUBKEY {again.wire} {statement(u.address, again, previous=without)}"), "250 OK")
    # the verbs in a mail transaction leave it as it is
    starts(s.one(f"MAIL FROM:<{u.address}>"), "250")
    s.send(f"RCPT TO:<{u.address}>\r\nGETSALT\r\nRSTSALT\r\nXKEYRING none 3\r\nabcRCPT TO:<{ALICE['address']}>\r\nPUBKEY {u.address}\r\nDATA\r\n")
    eq([r[:3] for r in reads(s, 7)], ["250", "220", "220", "554", "250", "220", "354"])
    s.send("Subject: x\r\n\r\nx\r\n.\r\n")
    starts(s.reply()[0], "250")


@check("R28 §9: XKEYRING's edges")
def _():
    u = User()
    s = u.publish()
    assert s.sock.version()
    for line, want in (("XKEYRING none 0", "501"), ("XKEYRING none", "501"), ("XKEYRING none -1", "501"), ("XKEYRING none 1 2", "501"), ("XKEYRING NONE 3", "501"),
                       ("XKEYRING " + "g" * 64 + " 3", "501"), ("XKEYRING " + "a" * 63 + " 3", "501"), ("XKEYRING none 1048577", "552 5.3.4"), ("XKEYRING none\t3", "501"),
                       ("XKEYRING none " + "9" * 30, "552 5.3.4"), ("XKEYRING none 0x10", "501")):
        for signed_in in (True, False):
            c = u.session()[0] if signed_in else tls()
            c.send(line + "\r\nQUIT\r\n")
            starts(c.reply()[0], want)
            assert c.closed(), line
    big = secrets.token_bytes(1048576)
    s.send(f"XKEYRING none {len(big)}\r\n")
    for i in range(0, len(big), 100000):
        s.send(big[i:i + 100000])
    s.send("NOOP\r\n")
    eq(s.reply()[0], "250 OK")
    starts(s.reply()[0], "250 2.0.0")
    assert keyring_get(s) == big
    lines = s.cmd("XKEYRING")
    assert all(len(l) <= 510 for l in lines) and all(l.startswith("220-") for l in lines[:-1]) and lines[-1].startswith("220 ")
    h = hashlib.sha256(big).hexdigest()
    starts(keyring_put(s, "none", b"QUIT\r\n"), "554")
    starts(keyring_put(s, h[::-1], b"x"), "554")
    eq(keyring_put(s, h.upper(), b"\r\n.\r\nQUIT\r\n"), "250 OK")
    eq(keyring_get(s), b"\r\n.\r\nQUIT\r\n")
    p = plain()
    eq(keyring_put(p, "none", b"QUIT\r\n"), "530 5.7.0 Must issue a STARTTLS command first")
    assert p.alive()
    # compared when staged, and again when committed
    a, _ = u.session()
    a.one("RSTSALT")
    h = hashlib.sha256(b"\r\n.\r\nQUIT\r\n").hexdigest()
    starts(keyring_put(a, "none", b"x"), "554")
    eq(keyring_put(a, h, b"staged"), "250 OK")
    eq(keyring_put(s, h, b"faster"), "250 OK")
    new = random_key()
    line = f"SETPUBKEY {new.wire} {statement(u.address, new, previous=u.key)}"
    starts(a.one(line), "554")
    eq(tls().one("PUBKEY " + u.address), "220 ed25519 " + u.key.wire)
    eq(keyring_put(a, hashlib.sha256(b"faster").hexdigest(), b"staged"), "250 OK")
    eq(a.one(line), "250 OK")
    eq(keyring_get(s), b"staged")


@check("R05 §5: XPASSWD: each refusal, and nothing changes by it; then all at once")
def _():
    u = User()
    s = u.publish()
    other, _ = u.session()
    raw, salt, new = secrets.token_bytes(32), secrets.token_bytes(16), random_key()
    line = lambda key=new, cost=COST, sa=salt, st=None: f"XPASSWD {b64(phc(cost, sa, raw))} {key.wire} {st or statement(u.address, key, previous=u.key)}"
    starts(s.one(line()), "503")
    starts(s.one("XPASSWD"), "503")
    pending = unb64(s.one("RSTSALT")[9:])
    for bad in ("XPASSWD", "XPASSWD a b c", line(cost=(19455, 2, 1)), line(sa=bytes(15)), line(sa=u.login_salt), line(key=u.key, st=statement(u.address, u.key)),
                line(st=statement("x@example.net", new, previous=u.key)), line(st=statement(u.address, random_key(), previous=u.key)), line(st=statement(u.address, new, previous=u.key, created=-9999)),
                f"XPASSWD {b64(phc(COST, salt, raw))} {new.wire}"):
        starts(s.one(bad), "501")
    eq(s.one(line(st=statement(u.address, new))), AGAIN)
    assert isinstance(tls().auth(u.address, u.raw), bytes) and other.alive()
    eq(s.one(line()), "250 OK")
    assert gone(other) and s.alive()
    eq(tls().auth(u.address, u.raw), INVALID)
    u.raw = raw
    eq(u.session()[1], pending)


@check("R11 R15 §4: refusals take the same time")
def _():
    u = User()
    fresh = admin(NET, "user", "add", f"x-{secrets.token_hex(4)}@example.net")
    used = admin(NET, "user", "add", f"x-{secrets.token_hex(4)}@example.net")
    eq(tls().one(enrol_line(used["address"], used["code"])), "250 2.0.0 OK")
    login = lambda who: "AUTH HASHEDPASS " + b64(b"\0" + who.encode() + b"\0" + b64(secrets.token_bytes(32)).encode())
    kinds = {"wrong": lambda: login(u.address), "unknown": lambda: login("nobody@example.net"), "not enrolled": lambda: login(fresh["address"]),
             "app": lambda: "AUTH PLAIN " + b64(f"\0{u.address}\0wrong-wrong-wrong-wrong"), "code": lambda: enrol_line(fresh["address"], "wrong"),
             "used": lambda: enrol_line(used["address"], used["code"]), "nobody": lambda: enrol_line("nobody@example.net", "wrong")}
    times = {k: [] for k in kinds}

    def run(kind):
        s = tls()
        for _ in range(20):
            start = time.monotonic()
            eq(s.one(kinds[kind]()), INVALID)
            times[kind].append(time.monotonic() - start)
    threads = [threading.Thread(target=run, args=(k,)) for k in kinds]
    [t.start() for t in threads]
    [t.join() for t in threads]
    medians = {k: statistics.median(v) for k, v in times.items()}
    assert all(len(v) == 20 for v in times.values()), {k: len(v) for k, v in times.items()}
    assert max(medians.values()) - min(medians.values()) < 0.03, medians


# --- IMAP (profile §4, §10) ---

class Imap:
    def __init__(self, address, implicit):
        ip, port = address.rsplit(":", 1)
        self.ctx, self.buf = ssl.create_default_context(cafile=CA), b""
        self.sock = socket.create_connection((ip, int(port)), TIMEOUT)
        if implicit:
            self.sock = self.ctx.wrap_socket(self.sock, server_hostname=NET["host"])
        self.greeting = self.line()

    line = Smtp.line
    closed = Smtp.closed

    def cmd(self, text):
        self.sock.sendall(b"t " + text.encode() + b"\r\n")
        return self.until()

    def raw(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        return self.until()

    def until(self):
        while True:
            line = self.line()
            if line.startswith(("t ", "+ ", "+", "* BYE")):
                return line


@check("R02 R15 §4 in IMAP: before TLS NO [PRIVACYREQUIRED]; BAD for what is 501, NO [AUTHENTICATIONFAILED] for 535")
def _():
    u = User()
    full = b64(u.raw)
    enc = lambda *parts: b64("\0".join(parts))
    i = Imap(NET["imap"], False)
    for c in ("AUTHENTICATE HASHEDPASS", "AUTHENTICATE HASHEDPASS " + enc("", u.address, full), "LOGIN a b", "AUTHENTICATE PLAIN"):
        starts(i.cmd(c), "t NO [PRIVACYREQUIRED]")
    i.sock.sendall(b"t CAPABILITY\r\n")
    assert "AUTH=" not in i.line()
    i.line()
    i.sock.sendall(b"t STARTTLS\r\nt2 LOGIN a b\r\n")
    starts(i.line(), "t OK")
    i.sock = i.ctx.wrap_socket(i.sock, server_hostname=NET["host"])
    i.buf = b""
    i.sock.sendall(b"t CAPABILITY\r\n")
    caps = i.line()
    assert "AUTH=HASHEDPASS" in caps and "SASL-IR" in caps and "STARTTLS" not in caps, caps
    i.line()
    for bad in ("=", "!!!", enc("", "", full), enc("z", u.address, full), enc("", u.address.upper(), full), enc("", u.address, full[:43])):
        starts(i.cmd("AUTHENTICATE HASHEDPASS " + bad), "t BAD")
    eq(i.cmd("AUTHENTICATE HASHEDPASS").strip(), "+")
    starts(i.raw("*"), "t BAD")
    starts(i.cmd("AUTHENTICATE HASHEDPASS " + enc("", u.address, b64(bytes(32)))), "t NO [AUTHENTICATIONFAILED]")
    starts(i.cmd("AUTHENTICATE HASHEDPASS " + enc("", "nobody@example.net", "")), "+ ")
    starts(i.raw(enc("", u.address, full)), "t BAD")
    got = i.cmd("AUTHENTICATE HASHEDPASS " + enc("", u.address, ""))
    starts(unb64(got[2:]).decode(), "$argon2id$v=19$m=19456,t=2,p=1$")
    starts(i.raw(enc("", u.address, full)), "t OK")
    starts(i.cmd("NOOP"), "t OK")
    other = Imap(NET["imaps"], True)
    starts(other.cmd("AUTHENTICATE LOGIN"), "+ ")
    starts(other.raw(b64(u.address)), "+ ")
    starts(other.raw(b64(full)), "t NO [AUTHENTICATIONFAILED]")
    # sessions of the account are closed by a password change
    s = u.publish()
    s.one("RSTSALT")
    new = random_key()
    eq(s.one(f"XPASSWD {b64(phc(COST, secrets.token_bytes(16), secrets.token_bytes(32)))} {new.wire} {statement(u.address, new, previous=u.key)}"), "250 OK")
    starts(i.until(), "* BYE")


# --- a server of its own: limits, signals, crashes, IPv6 ---

class Own:
    """A server with the demo's certificate, other ports and an empty store."""

    def __init__(self, more=""):
        self.dir = tempfile.mkdtemp(dir=DIR)
        folder = os.path.dirname(at(NET["config"]))
        held = [socket.socket(socket.AF_INET6 if six else socket.AF_INET) for six in (0, 0, 0, 0, 0, 1)]
        for h in held:
            h.bind(("::1", 0) if h.family == socket.AF_INET6 else ("127.0.0.1", 0))
        names = ["smtp", "submission", "submissions", "imap", "imaps", "six"]
        ports = {n: f"[::1]:{h.getsockname()[1]}" if n == "six" else f"127.0.0.1:{h.getsockname()[1]}" for n, h in zip(names, held)}
        [h.close() for h in held]
        self.server = {**ports, "host": NET["host"], "config": os.path.join(self.dir, "sealpost.toml")}
        listen = "".join(f'{n} = "{ports[n]}"\n' for n in names[:2] + names[3:5])
        with open(self.server["config"], "w") as f:
            f.write(f'hostname = "{NET["host"]}"\ndomains = ["example.net"]\ndata_dir = "data"\ndns = "127.0.0.1:9"\n[tls]\ncert = "{folder}/cert.pem"\nkey = "{folder}/key.pem"\n'
                    f'[listen]\n{listen}submissions = ["{ports["submissions"]}", "{ports["six"]}"]\n{more}')
        self.start()

    def start(self):
        self.process = subprocess.Popen([SEALPOST, "serve", "--config", self.server["config"]], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(os.path.join(self.dir, "log"), "ab"))
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", int(self.server["smtp"].rsplit(":", 1)[1])), 1).close()
                # The last thing it makes: ports take connections before it serves them.
                return os.stat(os.path.join(self.dir, "data", "control.sock"))
            except OSError:
                assert self.process.poll() is None, open(os.path.join(self.dir, "log")).read()[-500:]
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.process.wait(30)


own = Own()
try:
    @check("control socket 0600, data folder 0700, store 0600")
    def _():
        data = os.path.join(own.dir, "data")
        eq(oct(os.stat(os.path.join(data, "control.sock")).st_mode & 0o777), "0o600")
        eq(oct(os.stat(data).st_mode & 0o077), "0o0")

    @check("IPv6 is served, and limits count a /64 of it apart from IPv4")
    def _():
        s = Smtp(own.server["six"], CA, own.server["host"], implicit=True)
        s.cmd("EHLO a")
        for _ in range(10):
            eq(s.auth("nobody@example.net", bytes(32)), INVALID)
        starts(s.auth("nobody@example.net", bytes(32)), "421 4.7.0")
        assert s.closed()
        eq(tls(own.server).auth("nobody@example.net", bytes(32)), INVALID)

    @check("a message acknowledged with 250 survives kill -9; SIGTERM lets a message in DATA end, others get 421")
    def _():
        u = User(own.server)
        token = app_password(own.server, u.address, "imap")
        mid = secrets.token_hex(8)

        def begin():
            s = plain(own.server)
            s.one("MAIL FROM:<x@c.example>")
            starts(s.one(f"RCPT TO:<{u.address}>"), "250")
            starts(s.one("DATA"), "354")
            return s
        s = begin()
        big = b"Subject: " + mid.encode() + b"\r\n\r\n" + (b"x" * 70 + b"\r\n") * 5000
        s.send(big + b".\r\n")
        starts(s.reply()[0], "250")
        own.process.kill()
        own.process.wait()
        own.start()
        s = begin()
        idle = plain(own.server)
        s.send(b"Subject: half\r\n\r\nhalf a ")
        time.sleep(0.2)
        own.process.terminate()
        starts(idle.reply()[0], "421 4.3.2")
        assert idle.closed()
        time.sleep(0.5)
        try:
            plain(own.server)
            raise AssertionError("taken after SIGTERM")
        except (OSError, EOFError):
            pass
        s.send(b"message\r\n.\r\n")
        starts(s.reply()[0], "250")
        assert gone(s)
        eq(own.process.wait(30), 0)
        own.start()
        import imaplib
        ctx = ssl.create_default_context(cafile=CA)
        ctx.check_hostname = False
        ip, port = own.server["imaps"].rsplit(":", 1)
        im = imaplib.IMAP4_SSL(ip, int(port), ssl_context=ctx)
        im.login(u.address, token)
        eq(im.select("INBOX")[1][0], b"2")
        assert im.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(big)
        assert im.fetch("2", "(BODY.PEEK[])")[1][0][1].endswith(b"Subject: half\r\n\r\nhalf a message\r\n")
        im.logout()

    @check("R18: neither hashes nor codes nor tokens are in the log or in the store")
    def _():
        u = User(own.server)
        token = app_password(own.server, u.address, "t")
        code = admin(own.server, "user", "reset", u.address)["code"]
        u.session()
        tls(own.server).one(enrol_line(u.address, "x" + code))
        tls(own.server).one("AUTH PLAIN " + b64(f"\0{u.address}\0{token}"))
        data = b"".join(open(os.path.join(d, f), "rb").read() for d, _, fs in os.walk(own.dir) for f in fs if not f.endswith(".sock"))
        for secret in (u.raw, b64(u.raw).encode(), b64(u.raw).rstrip("=").encode(), u.raw.hex().encode(), token.encode(), code.encode(), b64(f"\0{u.address}\0{token}").encode()):
            assert secret not in data

    @check("§4 limits: 600 look-ups a minute, PUBKEY and XKEYINFO together; syntax first; the session goes on")
    def _():
        s = plain(own.server)
        s.send("".join(f"{'PUBKEY' if i % 2 else 'XKEYINFO'} x{i}@example.net\r\n" for i in range(600)))
        got = reads(s, 600)
        assert all(r.startswith("550 ") for r in got), [r for r in got if not r.startswith("550 ")][:2]
        starts(s.one("PUBKEY x@example.net"), "450 4.7.1")
        starts(s.one("XKEYINFO x@example.net"), "450 4.7.1")
        starts(s.one("PUBKEY x"), "501 5.1.3")
        assert s.alive()

    @check("§4 limits: 100 sessions of an address, then 421")
    def _():
        time.sleep(0.5)
        open_ = []
        for _ in range(100):
            open_.append(Smtp(own.server["smtp"], CA, own.server["host"]))
            starts(open_[-1].greeting[0], "220")
        starts(Smtp(own.server["smtp"], CA, own.server["host"]).greeting[0], "421 4.7.0")
        for s in open_:
            s.sock.close()

    @check("§4 limits: 10 failed logins of an account, 100 of a network; what is no failure; many at once are no way round")
    def _():
        time.sleep(1)
        u, v = User(own.server), User(own.server)
        s = tls(own.server)
        for _ in range(20):  # 501 and cancelled exchanges are no failures
            starts(s.one("AUTH HASHEDPASS ="), "501")
            s.challenge(u.address)
            starts(s.one("*"), "501")
        got = []

        def guess():
            try:
                got.append(tls(own.server).auth(u.address, secrets.token_bytes(32)))
            except (EOFError, ConnectionError):
                got.append("421 lost")
        threads = [threading.Thread(target=guess) for _ in range(40)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        eq(len([g for g in got if g == INVALID]), 10)
        assert all(g == INVALID or g.startswith("421") for g in got), set(got)
        starts(tls(own.server).auth(u.address, u.raw), "421 4.7.0")
        starts(tls(own.server).one(enrol_line(u.address, "x")), "421 4.7.0")
        assert isinstance(tls(own.server).auth(v.address, v.raw), bytes)
        got = []

        def guess(i):
            s = tls(own.server)
            for j in range(8):
                try:
                    r = s.auth(f"n{i}-{j}@example.net", bytes(32))
                except (EOFError, ConnectionError):
                    return
                got.append(r)
                if not r.startswith("535"):
                    return
        threads = [threading.Thread(target=guess, args=(i,)) for i in range(20)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert any(r.startswith("421 4.7.0") for r in got)
        starts(tls(own.server).auth(v.address, v.raw), "421 4.7.0")
finally:
    if own.process.poll() is None:
        own.stop(signal.SIGKILL)

finish()
