"""The second implementation against running servers: `exchange.py SEALPOST DEMO_DIR`.

DEMO_DIR is what `sealpost demo --keep --dir DEMO_DIR` serves. Prints one line a check and `N passed, M failed`.
"""
import hashlib, imaplib, json, secrets, subprocess, tempfile, time

from checks import *
from wire import *

COST = (65536, 3, 1)


def cli(user, *args, ok=True):
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(user["password"])
        f.flush()
        p = subprocess.run([SEALPOST, "--dir", at(user["client_dir"]), "--password-file", f.name, "--json", *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert not ok or p.returncode == 0, f"{args}: exit {p.returncode}: {p.stderr.decode()[-300:]} {p.stdout.decode()[-300:]}"
    return json.loads(p.stdout or b"{}"), p.returncode


def tls(server=NET, port="submissions"):
    s = Smtp(server[port], CA, server["host"], implicit=True)
    s.cmd("EHLO second.example")
    return s


def plain(server=NET, port="smtp"):
    s = Smtp(server[port], CA, server["host"])
    return s


@check("R01 R02 EHLO before and in TLS, on all three ports")
def _():
    for port in ("smtp", "submission"):
        s = plain(port=port)
        before = s.cmd("EHLO second.example")
        for k in ("ENCRYPTMESSAGE", "SIGNMESSAGE", "XSEALPOST 1", "STARTTLS", "PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE 104857600"):
            assert any(l[4:] == k for l in before), (port, k, before)
        assert not any("AUTH" in l for l in before), before
        for c in ("GETSALT", "RSTSALT", "SETPUBKEY x", "AUTH HASHEDPASS AHgAeA==", "XENROL a@example.net c x", "XPASSWD x y z", "XKEYRING"):
            eq(s.one(c), "530 5.7.0 Must issue a STARTTLS command first")
        s.starttls()
        assert any(l[4:].startswith("AUTH HASHEDPASS") for l in s.cmd("EHLO second.example")), port
        s.quit()
    s = Smtp(NET["submissions"], CA, NET["host"], implicit=True)
    inside = s.cmd("EHLO x.example")
    assert any(l[4:].startswith("AUTH HASHEDPASS") for l in inside) and not any("STARTTLS" in l for l in inside), inside


@check("R02 plain text pipelined behind STARTTLS is thrown away")
def _():
    s = plain()
    s.cmd("EHLO second.example")
    s.send("STARTTLS\r\nPUBKEY " + ALICE["address"] + "\r\n")
    starts(s.reply()[0], "220")
    s.sock = s.ctx.wrap_socket(s.sock, server_hostname=s.host)
    starts(s.cmd("EHLO again.example")[0], "250")


@check("R10 R11 PUBKEY")
def _():
    for s in (plain(), tls()):
        r = s.one("PUBKEY " + ALICE["address"])
        starts(r, "220 ed25519 QUFBQUMzTnphQzFsWkRJMU5URTVBQUFBS")
        blob = unb64(unb64(r[12:]).decode())
        eq(len(blob), 51)
        eq(s.one(f"PUBKEY <{ALICE['address']}>"), r)
        eq(s.one("pubkey " + ALICE["address"].upper()), r)
        eq(s.one("PUBKEY nobody@example.net"), "550 No public key available for nobody@example.net")
        eq(s.one("PUBKEY <Nobody@Example.NET>"), "550 No public key available for Nobody@Example.NET")
        eq(s.one("PUBKEY x@foreign.example"), "551 5.7.1 Not a domain of this server")
        eq(s.one("XKEYINFO nobody@example.net"), "550 No public key available for nobody@example.net")
        for bad in ("alice", "@example.net", "a b@example.net", "x" * 65 + "@example.net", "a@" + "b" * 254, "a@b@example.net", "", "a..b@example.net", "<a@example.net"):
            starts(s.one("PUBKEY " + bad), "501 5.1.3")
        eq(s.one("PUBKEY jürgen@example.net"), "550 No public key available for jürgen@example.net")
        starts(s.cmd("XKEYINFO " + ALICE["address"])[-1], "220 ")
        assert s.alive()


@check("R10 the verbs leave a mail transaction as it is, and may be pipelined")
def _():
    s = plain()
    s.cmd("EHLO second.example")
    s.send(f"MAIL FROM:<x@elsewhere.example>\r\nPUBKEY {ALICE['address']}\r\nRCPT TO:<{ALICE['address']}>\r\nGETSALT\r\nDATA\r\n")
    got = [s.reply()[0][:3] for _ in range(5)]
    eq(got, ["250", "220", "250", "530", "354"])
    s.send(f"From: x@elsewhere.example\r\nTo: {ALICE['address']}\r\nSubject: plain from a second program\r\nMessage-ID: <plain-{secrets.token_hex(6)}@elsewhere.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n..dot\r\nhello\r\n.\r\n")
    starts(s.reply()[0], "250")


CAROL = "carol@example.net"
PASSWORD = "correct-horse-battery-staple-ocean-lamp"
state = {}


@check("R07 R15 R16 XENROL: wrong code, weak cost, short salt, then done; the code works once")
def _():
    code = admin(NET, "user", "add", CAROL)["code"]
    s = tls()
    salt = secrets.token_bytes(16)
    raw = login_hash(CAROL, PASSWORD, salt, COST)
    enrol = lambda c, cost=COST, sa=salt, who=CAROL: s.one(f"XENROL {who} {c} {b64(phc(cost, sa, raw))}")
    eq(s.one("PUBKEY " + CAROL), "550 No public key available for " + CAROL)
    wrong = enrol("wrong-code-wrong-code-wrong")
    eq(wrong, "535 5.7.8 Authentication credentials invalid")
    eq(enrol(code, who="nobody@example.net"), wrong)
    starts(enrol(code, cost=(1024, 1, 1)), "501 5.5.4")
    starts(enrol(code, sa=b"short"), "501 5.5.4")
    starts(enrol(code, cost=(2097152, 3, 1)), "501 5.5.4")
    eq(enrol(code), "250 2.0.0 OK")
    eq(s.one("GETSALT"), "530 5.7.0 Authentication required")
    eq(enrol(code), wrong)
    state.update(salt=salt, raw=raw)


@check("R15 R16 R18 AUTH HASHEDPASS: the forms, and each refusal")
def _():
    raw = state["raw"]
    full = b64(raw)
    enc = lambda *parts: b64(b"\0".join(p.encode() for p in parts))
    s = tls()
    for bad in ("=", "!!!!", enc("", "", full), enc("authz", CAROL, full), enc("", CAROL.upper(), full), enc("", CAROL, full[:-1]),
                enc("", CAROL, full + "x"), enc("", CAROL, full, "x"), enc("", CAROL), b64(b"\0\xff\0" + full.encode()), enc("", CAROL, full[:-2] + "9=")):
        starts(s.one("AUTH HASHEDPASS " + bad), "501 5.5.2")
    eq(s.one("AUTH HASHEDPASS " + enc("", CAROL, b64(bytes(32)))), "535 5.7.8 Authentication credentials invalid")
    eq(s.one("AUTH HASHEDPASS"), "334 ")
    starts(s.one("*"), "501")
    cost, salt = s.challenge(CAROL)
    eq((cost, salt), (COST, state["salt"]))
    starts(s.one(enc("", ALICE["address"], full)), "501 5.5.2")
    s.challenge(CAROL)
    starts(s.one(enc("", CAROL, "")), "501 5.5.2")
    one = s.challenge("nobody@example.net")
    starts(s.one("*"), "501")
    two = s.challenge("nobody@example.net")
    eq(one, two)
    eq(len(one[1]), 16)
    eq(s.one(enc("", "nobody@example.net", full)), "535 5.7.8 Authentication credentials invalid")
    s.challenge(CAROL)
    eq(s.one(enc("", CAROL, full)), "235 2.7.0 Authentication successful")
    line = s.reply()[0]
    starts(line, "250 SALT ")
    state["key_salt"] = unb64(line[9:])
    eq(len(state["key_salt"]), 16)
    eq(s.one("GETSALT"), "220 SALT " + line[9:])
    starts(s.one("AUTH HASHEDPASS " + enc("", CAROL, full)), "503")
    starts(s.one("XENROL a@example.net c x"), "503")
    s = plain(port="smtp")
    s.cmd("EHLO x.example")
    s.starttls()
    s.cmd("EHLO x.example")
    s.one("MAIL FROM:<x@elsewhere.example>")
    starts(s.one("AUTH HASHEDPASS " + enc("", CAROL, full)), "503")
    s.one("RSET")
    eq(s.auth(CAROL, raw), state["key_salt"])


@check("R12 R13 R14 unauthenticated and app-password sessions get 530")
def _():
    s = tls()
    big = "AAAA" * 2800
    for c in ("GETSALT", "RSTSALT", "SETPUBKEY " + random_key().wire, "XKEYRING", "XPASSWD a b c", "SETPUBKEY " + big):
        eq(s.one(c), "530 5.7.0 Authentication required")
    token = secrets.token_urlsafe(24)
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(token + "\n")
        f.flush()
        admin(NET, "app-password", "add", CAROL, "second", "--token-file", f.name)
    starts(s.one("AUTH PLAIN " + b64(f"\0{CAROL}\0wrong" + "x" * 20)), "535 5.7.8")
    starts(s.one("AUTH PLAIN " + b64(f"\0{CAROL}\0{b64(state['raw'])}")), "535 5.7.8")
    starts(s.one("AUTH PLAIN " + b64(f"\0{CAROL}\0{token}")), "235")
    for c in ("GETSALT", "RSTSALT", "SETPUBKEY " + random_key().wire, "XKEYRING", "XPASSWD a b c"):
        eq(s.one(c), "530 5.7.0 Authentication required")
    state["token"] = token


def signed_in():
    s = tls()
    salt = s.auth(CAROL, state["raw"])
    assert isinstance(salt, bytes), salt
    return s, salt


@check("R12 R29 SETPUBKEY refuses what is no key")
def _():
    s, salt = signed_in()
    good = random_key()
    blob = lambda raw, kind=b"ssh-ed25519": b64(b64(string(kind) + string(raw)))
    p = 2**255 - 19
    small = [0, 1, p - 1, 2707385501144840649318225287225658788936804267575313519463743609750303021, p, p + 1]
    for n in small:
        starts(s.one("SETPUBKEY " + blob(n.to_bytes(32, "little"))), "501 5.5.4")
    starts(s.one("SETPUBKEY " + blob((2).to_bytes(32, "little"))), "501 5.5.4")
    starts(s.one("SETPUBKEY " + b64(b64(good.blob + b"x"))), "501 5.5.4")
    starts(s.one("SETPUBKEY " + good.text), "501 5.5.4")
    starts(s.one("SETPUBKEY " + b64(b64(string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"x")))), "504 5.5.4")
    starts(s.one("SETPUBKEY"), "501")
    starts(s.one(f"SETPUBKEY {good.wire} {statement('dave@example.net', good)}"), "501 5.5.4")
    starts(s.one(f"SETPUBKEY {good.wire} {statement(CAROL, random_key())}"), "501 5.5.4")
    bad = unb64(statement(CAROL, good)).replace(b"expires: 2", b"expires: 3")
    starts(s.one(f"SETPUBKEY {good.wire} {b64(bad)}"), "501 5.5.4")
    eq(s.one("PUBKEY " + CAROL), "550 No public key available for " + CAROL)
    assert s.alive()


@check("R22 R12 the first key: derived, stated, set, published")
def _():
    s, salt = signed_in()
    key = derive(CAROL, PASSWORD, salt, COST)
    st = statement(CAROL, key, created=-60)
    eq(s.one(f"SETPUBKEY {key.wire} {st}"), "250 OK")
    eq(s.one("PUBKEY " + CAROL), "220 ed25519 " + key.wire)
    eq(plain().one("PUBKEY " + CAROL), "220 ed25519 " + key.wire)
    eq(s.one("XKEYINFO " + CAROL), "220 " + st)
    eq(s.one(f"PUBKEY carol+list@example.net"), "220 ed25519 " + key.wire)
    # a renewal: same key and previous, later; an earlier one is refused, and so is the key alone
    renewed = statement(CAROL, key, created=-30)
    eq(s.one(f"SETPUBKEY {key.wire} {renewed}"), "250 OK")
    starts(s.one(f"SETPUBKEY {key.wire} {statement(CAROL, key, created=-300)}"), "501 5.5.4")
    starts(s.one(f"SETPUBKEY {key.wire}"), "501 5.5.4")
    eq(s.cmd("XKEYINFO " + CAROL), ["220-" + renewed, "220 " + st])
    state["key"] = key


@check("R10 a signed-in session asks other domains through its server")
def _():
    s, _ = signed_in()
    eq(s.one("PUBKEY " + BOB["address"]), tls(COM).one("PUBKEY " + BOB["address"]))
    eq(s.one("PUBKEY nobody@example.com"), "550 No public key available for nobody@example.com")
    eq(s.one("PUBKEY x@no-such-domain.example"), "451 4.4.1 Key lookup failed")
    starts(s.cmd("XKEYINFO " + BOB["address"])[-1], "220 ")


@check("XKEYRING: none, store, compare, cut, refuse")
def _():
    s, _ = signed_in()
    starts(s.one("XKEYRING"), "550")
    one = keyring(CAROL, 1, state["key"])
    put = lambda replaces, data, c=s: (c.send(f"XKEYRING {replaces} {len(data)}\r\n".encode() + data), c.reply()[0])[1]
    starts(put("00" * 32, one), "554")
    starts(s.one("XKEYRING"), "550")
    eq(put("none", one), "250 OK")
    r = s.cmd("XKEYRING")
    assert all(len(l) + 2 <= 514 and len(l) - 4 <= 510 for l in r), max(map(len, r))
    eq(unb64("".join(l[4:] for l in r)), one)
    starts(put("none", one), "554")
    two = keyring(CAROL, 2, state["key"])
    eq(put(hashlib.sha256(one).hexdigest(), two), "250 OK")
    assert s.alive()
    u = tls()
    starts(put("none", b"\r\nQUIT\r\n", u), "530")
    assert u.alive(), "octets behind a refused XKEYRING were read as commands"
    starts(s.one("XKEYRING none 1048577"), "552 5.3.4")
    assert s.closed()
    s, _ = signed_in()
    starts(s.one("XKEYRING zz 5"), "501")
    assert s.closed()
    state["keyring"] = two


@check("R05 R14 R28 rotation: pending salt, staged keyring, one commit, 554 for the late")
def _():
    a, salt = signed_in()
    b, _ = signed_in()
    old = state["key"]
    r = a.one("RSTSALT")
    starts(r, "220 SALT ")
    new_salt = unb64(r[9:])
    assert new_salt != salt and len(new_salt) == 16
    eq(a.one("GETSALT"), r)
    eq(b.one("GETSALT"), "220 SALT " + b64(salt))
    eq(b.one("PUBKEY " + CAROL), "220 ed25519 " + old.wire)
    key = derive(CAROL, PASSWORD, new_salt, COST)
    ring = keyring(CAROL, 3, key)
    a.send(f"XKEYRING {hashlib.sha256(state['keyring']).hexdigest()} {len(ring)}\r\n".encode() + ring)
    eq(a.reply()[0], "250 OK")
    r = b.cmd("XKEYRING")
    eq(unb64("".join(l[4:] for l in r)), state["keyring"])
    stranger = random_key()
    starts(a.one(f"SETPUBKEY {key.wire} {statement(CAROL, key, previous=stranger)}"), "554 5.5.1")
    # a chain from nowhere is not a chain from the published key
    starts(a.one(f"SETPUBKEY {key.wire} {statement(CAROL, key)}"), "554 5.5.1")
    st = statement(CAROL, key, previous=old)
    eq(a.one(f"SETPUBKEY {key.wire} {st}"), "250 OK")
    eq(b.one("GETSALT"), "220 SALT " + b64(new_salt))
    eq(b.one("PUBKEY " + CAROL), "220 ed25519 " + key.wire)
    r = b.cmd("XKEYRING")
    eq(unb64("".join(l[4:] for l in r)), ring)
    eq(b.cmd("XKEYINFO " + CAROL)[0], "220-" + st)
    # two devices at once: the later one starts again
    c, _ = signed_in()
    d, _ = signed_in()
    cs, ds = unb64(c.one("RSTSALT")[9:]), unb64(d.one("RSTSALT")[9:])
    ck, dk = derive(CAROL, PASSWORD, cs, COST), derive(CAROL, PASSWORD, ds, COST)
    time.sleep(1)
    eq(c.one(f"SETPUBKEY {ck.wire} {statement(CAROL, ck, previous=key)}"), "250 OK")
    eq(d.one(f"SETPUBKEY {dk.wire} {statement(CAROL, dk, previous=key)}"), "554 5.5.1 Key salt or key changed, start again")
    eq(d.one("PUBKEY " + CAROL), "220 ed25519 " + ck.wire)
    # a pending salt dies with its session
    e, before = signed_in()
    e.one("RSTSALT")
    e.sock.close()
    _, after = signed_in()
    eq(after, before)
    state.update(old=key, key=ck)


@check("R05 XPASSWD: one transaction, other sessions closed")
def _():
    s, salt = signed_in()
    other, _ = signed_in()
    password = PASSWORD + "-changed"
    login_salt = secrets.token_bytes(16)
    raw = login_hash(CAROL, password, login_salt, COST)
    key = state["key"]
    time.sleep(1)
    starts(s.one(f"XPASSWD {b64(phc(COST, login_salt, raw))} {key.wire} {statement(CAROL, key)}"), "503")
    new_salt = unb64(s.one("RSTSALT")[9:])
    new = derive(CAROL, password, new_salt, COST)
    starts(s.one(f"XPASSWD {b64(phc((1024, 1, 1), login_salt, raw))} {new.wire} {statement(CAROL, new, previous=key)}"), "501 5.5.4")
    starts(s.one(f"XPASSWD {b64(phc(COST, state['salt'], raw))} {new.wire} {statement(CAROL, new, previous=key)}"), "501 5.5.4")
    starts(s.one(f"XPASSWD {b64(phc(COST, login_salt, raw))} {new.wire} {statement(CAROL, new, previous=key)}"), "250")
    try:
        starts(other.one("NOOP"), "421")
    except (EOFError, ConnectionError, ssl.SSLError):
        pass
    eq(tls().auth(CAROL, state["raw"]), "535 5.7.8 Authentication credentials invalid")
    eq(tls().auth(CAROL, raw), new_salt)
    state.update(raw=raw, salt=login_salt, old=key, key=new, password=password)


def submit(s, sender, to, message):
    starts(s.one(f"MAIL FROM:<{sender}>"), "250")
    starts(s.one(f"RCPT TO:<{to}>"), "250")
    starts(s.one("DATA"), "354")
    s.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return s.reply()[0]


def published(server, address):
    return unb64(tls(server).one("PUBKEY " + address).split(" ")[2]).decode()


def read_until(user, message_id, tries=60):
    """Waits for a message, by Message-ID as the list shows it or by reading the newest."""
    for _ in range(tries):
        out, code = cli(user, "read", "last", ok=False)
        if out.get("message_id") == message_id or state.get("marker") in str(out):
            return out, code
        time.sleep(0.5)
    raise AssertionError(f"{message_id} never arrived; last was {out}")


@check("R08 R09 R19 R20 R21 R23 R25 a sealed message from the second implementation is good at Sealpost")
def _():
    s, _ = signed_in()
    bob = "ssh-ed25519 " + published(COM, BOB["address"])
    state["marker"] = "Grüße " + secrets.token_hex(6)
    mid = f"<{secrets.token_hex(12)}@example.net>"
    m = sealed_message(CAROL, state["key"], BOB["address"], [bob], "=?utf-8?b?" + b64(state["marker"]) + "?=", "Text vom zweiten Programm.", mid)
    starts(submit(s, CAROL, BOB["address"], m), "250")
    out, code = read_until(BOB, mid)
    eq(code, 0)
    assert out["verdict"] in ("good", "sender not yet confirmed"), out
    eq(out["subject"], state["marker"])
    assert "zweiten Programm" in out["text"], out


@check("R08 an octet changed on the way is withheld")
def _():
    s, _ = signed_in()
    bob = "ssh-ed25519 " + published(COM, BOB["address"])
    state["marker"] = "tampered-" + secrets.token_hex(6)
    mid = f"<{state['marker']}@example.net>"
    m = sealed_message(CAROL, state["key"], BOB["address"], [bob], "x", "y", mid)
    i = m.index(b"Date: ") + 6 + len("Mon, 23 Nov 2026 10:00:")
    m = m[:i] + (b"1" if m[i:i + 1] != b"1" else b"2") + m[i + 1:]
    starts(submit(s, CAROL, BOB["address"], m), "250")
    for _ in range(60):
        out, code = cli(BOB, "read", "last", ok=False)
        if code == 4:
            break
        time.sleep(0.5)
    eq(code, 4)
    eq(out["verdict"], "signature bad")
    assert "text" not in out or not out["text"], out


@check("R08 wrapped by another: an inner From that is not the signer's")
def _():
    s, _ = signed_in()
    bob = "ssh-ed25519 " + published(COM, BOB["address"])
    mid = f"<{secrets.token_hex(12)}@example.net>"
    m = sealed_message(CAROL, state["key"], BOB["address"], [bob], "x", "y", mid, inner_from=ALICE["address"])
    starts(submit(s, CAROL, BOB["address"], m), "250")
    for _ in range(60):
        out, code = cli(BOB, "read", "last", ok=False)
        if out.get("verdict") == "wrapped by another":
            break
        time.sleep(0.5)
    eq((out.get("verdict"), code), ("wrapped by another", 4))


@check("R09 R25 R27 what Sealpost sends, the second implementation opens and verifies")
def _():
    subject = "Für Carol " + secrets.token_hex(4)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write("Guten Tag.\n")
        f.flush()
        out, code = cli(BOB, "send", "--to", CAROL, "--subject", subject, f.name)
    mid = out["message_id"]
    starts(mid, "<")
    ip, port = NET["imaps"].rsplit(":", 1)
    ctx = ssl.create_default_context(cafile=CA)
    ctx.check_hostname = False  # imaplib checks the address it connects to; the name is checked below
    im = imaplib.IMAP4_SSL(ip, int(port), ssl_context=ctx)
    im.authenticate("HASHEDPASS", lambda _: b"\0" + CAROL.encode() + b"\0" + b64(state["raw"]).encode())
    im.select("INBOX")
    for _ in range(60):
        typ, data = im.search(None, "HEADER", "Message-ID", mid)
        if data[0]:
            break
        time.sleep(0.5)
        im.noop()
    typ, data = im.fetch(data[0].split()[-1], "(BODY.PEEK[])")
    raw = data[0][1]
    head = raw[:raw.index(b"\r\n\r\n")]
    assert subject.encode() not in raw and b"Guten Tag" not in raw
    fields, body = split(raw)
    eq([v.strip() for n, v in fields if n == "subject"], [b"[...]"])
    eq([v.strip() for n, v in fields if n == "x-sender-encrypted"], [b"yes"])
    eq([v.strip() for n, v in fields if n == "content-type"], [b"application/age"])
    starts(body.decode(), "-----BEGIN AGE ENCRYPTED FILE-----\r\n")
    assert all(len(l) <= 76 for l in head.split(b"\r\n") if l[:1] in b" \t" or l.lower().startswith(b"x-sender")), head
    verify(raw, published(COM, BOB["address"]))
    payload = age_open(state["key"], body)
    inner, text = split(payload)
    assert b'hp="cipher"' in dict(inner)["content-type"], inner
    outer = [(n, relaxed(n, v)) for n, v in fields if n in ("from", "to", "cc", "date", "message-id", "subject")]
    hp = []
    for n, v in inner:
        if n == "hp-outer":
            k, w = v.split(b":", 1)
            k = k.strip().lower().decode()
            hp.append((k, relaxed(k, w)))
    eq(sorted(hp), sorted(outer))
    assert "bcc" not in [n for n, _ in inner]
    import email, email.policy
    eq(str(email.message_from_bytes(payload, policy=email.policy.default)["subject"]), subject)
    im.logout()


@check("R17 PLAIN in IMAP takes app passwords only; before TLS nothing")
def _():
    ip, port = NET["imaps"].rsplit(":", 1)
    ctx = ssl.create_default_context(cafile=CA)
    ctx.check_hostname = False
    im = imaplib.IMAP4_SSL(ip, int(port), ssl_context=ctx)
    for secret in (state["password"], b64(state["raw"])):
        try:
            im.login(CAROL, secret)
            raise AssertionError("main password taken by LOGIN")
        except imaplib.IMAP4.error as e:
            assert "AUTHENTICATIONFAILED" in str(e), e
    im.login(CAROL, state["token"])
    im.logout()
    ip, port = NET["imap"].rsplit(":", 1)
    im = imaplib.IMAP4(ip, int(port))
    try:
        im.login(CAROL, state["token"])
        raise AssertionError("LOGIN before TLS")
    except imaplib.IMAP4.error as e:
        assert "PRIVACYREQUIRED" in str(e), e
    im.logout()


@check("R18 DATA and BDAT: only CRLF.CRLF ends, bare CR and LF are refused")
def _():
    for body in (b"Subject: x\n\r\nbody\r\n.\r\n", b"Subject: x\r\n\r\nbody\n.\n\r\n.\r\n", b"Subject: x\r\n\r\na\rb\r\n.\r\n", b"Subject: x\r\n\r\n\n.\r\nMAIL FROM:<evil@x.example>\r\n.\r\n"):
        s = plain()
        s.cmd("EHLO second.example")
        s.one("MAIL FROM:<x@elsewhere.example>")
        s.one(f"RCPT TO:<{CAROL}>")
        starts(s.one("DATA"), "354")
        s.send(body)
        starts(s.reply()[0], "550 5.6.11")
        assert s.alive()
    s.one("MAIL FROM:<x@elsewhere.example>")
    s.one(f"RCPT TO:<{CAROL}>")
    s.send(b"BDAT 6\r\na\nb\r\n\r")
    s.reply()
    s.send(b"BDAT 1 LAST\r\n\n")
    starts(s.reply()[0], "550 5.6.11")
    s.one("MAIL FROM:<x@elsewhere.example>")
    s.one(f"RCPT TO:<{CAROL}>")
    s.send(b"BDAT 14\r\nSubject: x\r\n\r\n")
    starts(s.reply()[0], "250")
    s.send(b"BDAT 4 LAST\r\nhi\r\n")
    starts(s.reply()[0], "250")
    starts(s.one(f"MAIL FROM:<x@elsewhere.example> SIZE=104857601"), "552 5.3.4")


@check("a signed-in user sends only as himself, others relay nothing")
def _():
    s, _ = signed_in()
    starts(s.one(f"MAIL FROM:<{ALICE['address']}>"), "553")
    u = plain()
    u.cmd("EHLO x.example")
    u.one("MAIL FROM:<x@elsewhere.example>")
    starts(u.one(f"RCPT TO:<{BOB['address']}>"), "550")
    starts(u.one("RCPT TO:<nobody@example.net>"), "550 5.1.1")
    starts(u.one("RCPT TO:<Postmaster>"), "250")
    u = plain(port="submission")
    u.cmd("EHLO x.example")
    starts(u.one("MAIL FROM:<x@example.net>"), "530")


finish()
