"""A second implementation of the Sealpost profile's client side, written from docs/protocol.md alone.

It shares no code with the Rust crates: Argon2id is the C reference implementation (argon2-cffi), Ed25519 and HKDF are
OpenSSL's (cryptography), sealing is the stock `age` program, SSHSIG is laid out by hand. Where the two disagree, one
of them or the document is wrong.
"""
import base64, datetime, hashlib, os, re, socket, ssl, struct, subprocess, tempfile

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TIMEOUT = 30


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def unb64(text):
    return base64.b64decode(text, validate=True)


def pad(text):
    return text + "=" * (-len(text) % 4)


def argon(password, salt, cost):
    m, t, p = cost
    return hash_secret_raw(password, salt, t, m, p, 32, Type.ID, 0x13)


def login_hash(user, password, salt, cost):
    return argon(b"\0" + user.encode() + b"\0" + password.encode(), salt, cost)


def derive(user, password, key_salt, cost):
    bound = hashlib.sha256(b"sealpost key salt v1\0" + user.encode() + b"\0" + key_salt).digest()
    seed = HKDF(hashes.SHA256(), 32, None, b"sealpost ed25519 v1").derive(argon(password.encode(), bound, cost))
    return Key(Ed25519PrivateKey.from_private_bytes(seed))


def phc(cost, salt, raw=None):
    m, t, p = cost
    text = f"$argon2id$v=19$m={m},t={t},p={p}${b64(salt).rstrip('=')}"
    return text if raw is None else text + "$" + b64(raw).rstrip("=")


def string(data):
    return struct.pack(">I", len(data)) + data


class Key:
    """An Ed25519 key pair in the forms the profile uses."""

    def __init__(self, private):
        self.private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.blob = string(b"ssh-ed25519") + string(raw)
        self.text = b64(self.blob)
        self.openssh = "ssh-ed25519 " + self.text
        self.wire = b64(self.text)

    def sshsig(self, namespace, message):
        signed = b"SSHSIG" + string(namespace) + string(b"") + string(b"sha512") + string(hashlib.sha512(message).digest())
        sig = string(b"ssh-ed25519") + string(self.private.sign(signed))
        blob = b"SSHSIG" + struct.pack(">I", 1) + string(self.blob) + string(namespace) + string(b"") + string(b"sha512") + string(sig)
        text = b64(blob)
        lines = [text[i:i + 70] for i in range(0, len(text), 70)]
        return "-----BEGIN SSH SIGNATURE-----\n" + "\n".join(lines) + "\n-----END SSH SIGNATURE-----\n"

    def pem(self):
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())


def random_key():
    return Key(Ed25519PrivateKey.generate())


def stamp(offset=0):
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return t.strftime("%Y-%m-%dT%H:%M:%SZ")


def statement(address, key, previous=None, created=0, life=2 * 365 * 86400, addresses=None):
    """A signed key statement on the wire; `previous` is a Key, or None for the start of a chain."""
    lines = ["sealpost key statement v1"] + [f"address: {a}" for a in sorted(addresses or [address], key=lambda a: a.encode())]
    lines += [f"key: {key.openssh}", f"created: {stamp(created)}", f"expires: {stamp(created + life)}",
              f"previous: {previous.openssh if previous else 'none'}"]
    text = "".join(line + "\n" for line in lines).encode()
    out = text + key.sshsig(b"sealpost-key", text).encode()
    if previous:
        out += previous.sshsig(b"sealpost-key", text).encode()
    return b64(out)


def keyring(address, serial, key, body=b'{"retired":[],"pins":{},"domains":{},"replay":{}}'):
    head = f"sealpost keyring v1\naddress: {address}\nserial: {serial}\n\n".encode() + body + b"\n"
    return age_seal([key.openssh], head + key.sshsig(b"sealpost-keyring", head).encode(), armour=False)


def age_seal(recipients, plain, armour=True):
    args = ["age", "-e"] + (["-a"] if armour else [])
    for r in recipients:
        args += ["-r", r]
    return subprocess.run(args, input=plain, stdout=subprocess.PIPE, check=True).stdout


def age_open(key, sealed):
    with tempfile.NamedTemporaryFile() as f:
        os.chmod(f.name, 0o600)
        f.write(key.pem())
        f.flush()
        return subprocess.run(["age", "-d", "-i", f.name], input=sealed, stdout=subprocess.PIPE, check=True).stdout


class Smtp:
    """One SMTP connection; every call returns the reply's lines."""

    def __init__(self, address, ca, host, implicit=False):
        self.ctx = ssl.create_default_context(cafile=ca)
        self.host = host
        ip, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((ip.strip("[]"), int(port)), TIMEOUT)
        self.buf = b""
        if implicit:
            self.sock = self.ctx.wrap_socket(self.sock, server_hostname=host)
        self.greeting = self.reply()

    def line(self):
        while b"\r\n" not in self.buf:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("connection closed")
            self.buf += data
        out, self.buf = self.buf.split(b"\r\n", 1)
        return out.decode()

    def reply(self):
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1][3:4] != "-":
                return lines

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def cmd(self, text):
        self.send(text + "\r\n")
        return self.reply()

    def one(self, text):
        """A command whose reply must be one line."""
        r = self.cmd(text)
        assert len(r) == 1, r
        return r[0]

    def starttls(self):
        assert self.one("STARTTLS").startswith("220"), "STARTTLS"
        assert not self.buf, "octets after STARTTLS's 220"
        self.sock = self.ctx.wrap_socket(self.sock, server_hostname=self.host)

    def auth(self, user, raw):
        """One-step HASHEDPASS; returns the key salt, or the refusal."""
        first = self.one("AUTH HASHEDPASS " + b64(b"\0" + user.encode() + b"\0" + b64(raw).encode()))
        if not first.startswith("235"):
            return first
        second = self.reply()[0]
        assert second.startswith("250 SALT "), second
        return unb64(second[9:])

    def challenge(self, user):
        """First step of the two; returns (cost, salt)."""
        r = self.one("AUTH HASHEDPASS " + b64(b"\0" + user.encode() + b"\0"))
        assert r.startswith("334 "), r
        text = unb64(r[4:]).decode()
        m = re.fullmatch(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)", text)
        assert m, text
        return (int(m[1]), int(m[2]), int(m[3])), unb64(pad(m[4]))

    def alive(self):
        return self.one("NOOP").startswith("250")

    def closed(self):
        try:
            while True:
                if not self.sock.recv(65536):
                    return True
        except (ConnectionError, ssl.SSLError):
            return True
        except socket.timeout:
            return False

    def quit(self):
        try:
            self.cmd("QUIT")
        finally:
            self.sock.close()


# --- messages (profile §6) ---

SIGNED = ["from", "reply-to", "to", "cc", "date", "subject", "message-id", "mime-version", "content-type",
          "content-transfer-encoding", "x-sender-encrypted"]


def split(message):
    head, body = message.split(b"\r\n\r\n", 1)
    fields = []
    for line in (head + b"\r\n").split(b"\r\n")[:-1]:
        if line[:1] in b" \t" and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\r\n" + line)
        else:
            name, value = line.split(b":", 1)
            fields.append((name.strip().lower().decode(), value))
    return fields, body


def relaxed(name, value):
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")
    return name.encode() + b":" + value + b"\r\n"


def signature_input(message):
    fields, body = split(message)
    out = b"sealpost message v1\r\n"
    for name in SIGNED:
        found = [v for n, v in fields if n == name]
        assert len(found) <= 1, name
        if found:
            out += relaxed(name, found[0])
    return out + b"\r\n" + body


def folded(name, value):
    out, line = [], f"{name}: ed25519 "
    for c in value:
        if len(line) == 76:
            out.append(line)
            line = " "
        line += c
    return "\r\n".join(out + [line]) + "\r\n"


def sign(headers, body, key):
    """`headers` ends in X-Sender-Encrypted; returns the finished message."""
    head = (headers + folded("X-Sender-Pubkey", key.text)).encode()
    sig = key.private.sign(signature_input(head + b"\r\n" + body)).hex()
    return head + folded("X-Sender-Signature", sig).encode() + b"\r\n" + body


def sealed_message(sender, key, to, recipients, subject, text, message_id, hp_from=None, inner_from=None):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S +0000")
    outer = f"From: {sender}\r\nTo: {to}\r\nDate: {date}\r\nMessage-ID: {message_id}\r\nSubject: [...]\r\n"
    payload = (f"From: {inner_from or sender}\r\nTo: {to}\r\nDate: {date}\r\nSubject: {subject}\r\nMessage-ID: {message_id}\r\n"
               f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; hp=\"cipher\"\r\nContent-Transfer-Encoding: 8bit\r\n"
               f"HP-Outer: From: {hp_from or sender}\r\nHP-Outer: To: {to}\r\nHP-Outer: Date: {date}\r\nHP-Outer: Message-ID: {message_id}\r\n"
               f"HP-Outer: Subject: [...]\r\n\r\n{text}\r\n").encode()
    body = age_seal(recipients, payload).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    headers = outer + ("MIME-Version: 1.0\r\nContent-Type: application/age\r\nContent-Disposition: inline; filename=\"message.age\"\r\n"
                       "Content-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: yes\r\n")
    return sign(headers, body, key)


def verify(message, key_text):
    """Checks X-Sender-Signature against an OpenSSH key string."""
    fields, _ = split(message)
    (value,) = [v for n, v in fields if n == "x-sender-signature"]
    algorithm, rest = value.strip().split(b" ", 1)
    assert algorithm == b"ed25519", algorithm
    sig = bytes.fromhex(re.sub(rb"\s+", b"", rest).decode())
    blob = unb64(key_text)
    assert len(blob) == 51
    Ed25519PublicKey.from_public_bytes(blob[19:]).verify(sig, signature_input(message))
