"""Makes messages.json: known answers for signature input, signatures and verdicts (docs/protocol.md §6).

Shares no code with the crates: the standard library, `cryptography` for the signatures and the stock `age` program for
sealing. Sealing and RSA keys are random, so a new run gives other octets with the same outcomes.

    python3 make_messages.py > messages.json
"""
import base64, hashlib, json, re, subprocess

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNED = ("From Reply-To To Cc Date Subject Message-ID MIME-Version Content-Type Content-Transfer-Encoding "
          "X-Sender-Encrypted").split()


class Ed25519:
    token = "ed25519"

    def __init__(self, octet):
        self.seed = bytes([octet]) * 32
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.openssh = self.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, message):
        return self.private.sign(message)


class Rsa:
    token = "rsa"

    def __init__(self):
        self.private = rsa.generate_private_key(65537, 3072)
        self.openssh = self.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, message):
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA512())


ALICE, BOB, CAROL, RSA = Ed25519(1), Ed25519(2), Ed25519(3), Rsa()


def fields(head):
    out = []
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t"):
            out[-1] += "\r\n" + line
        elif line:
            out.append(line)
    return [tuple(field.split(":", 1)) for field in out]


def relaxed(name, value):
    value = re.sub(r"[ \t]+", " ", value.replace("\r\n", "")).strip(" ")
    return f"{name.strip().lower()}:{value}\r\n"


def signature_head(head):
    text = "sealpost message v1\r\n"
    for wanted in SIGNED:
        for name, value in fields(head):
            if name.strip().lower() == wanted.lower():
                text += relaxed(name, value)
    return text + "\r\n"


def fold(name, token, value):
    line, lines = f"{name}: {token} ", []
    for c in value:
        if len(line) == 76:
            lines.append(line)
            line = " "
        line += c
    return "\r\n".join(lines + [line]) + "\r\n"


def sign(head, body, key):
    raw = key.sign((signature_head(head) + body).encode())
    return (head + fold("X-Sender-Pubkey", key.token, key.openssh.split()[1])
            + fold("X-Sender-Signature", key.token, raw.hex()) + "\r\n" + body)


def seal(payload, *keys):
    args = [a for key in keys for a in ("-r", key.openssh)]
    out = subprocess.run(["age", "-a", *args], input=payload.encode(), stdout=subprocess.PIPE, check=True).stdout
    return out.decode().replace("\n", "\r\n")


# --- signature input ---

BASE = ("From: Alice <alice@example.net>\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n"
        "Subject: Hello\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: no\r\n")

INPUTS = [
    ("all fields, body of one line", BASE, "hello\r\n"),
    ("empty body", BASE, ""),
    ("order of the fields does not count", "".join(f"{n}:{v}\r\n" for n, v in reversed(fields(BASE))), "hello\r\n"),
    ("folding and runs of white space", BASE.replace("bob@example.com", "bob@example.com,\r\n\t carol@example.org \t"), "hello\r\n"),
    ("names in any case, white space before the colon", BASE.replace("Subject:", "SUBJECT \t:").replace("To:", "to:"), "hello\r\n"),
    ("fields that are not signed", "Received: by x\r\n for y\r\n" + BASE + "References: <0@example.com>\r\n", "hello\r\n"),
    ("Reply-To and Cc", "Cc: c@example.org\r\n" + BASE + "Reply-To: r@example.org\r\n", "hello\r\n"),
    ("empty Subject", BASE.replace("Subject: Hello", "Subject:"), "hello\r\n"),
    ("Subject of white space, folded", BASE.replace("Subject: Hello", "Subject: \r\n \t"), "hello\r\n"),
    ("no MIME fields", "".join(f"{n}:{v}\r\n" for n, v in fields(BASE) if not n.startswith(("MIME", "Content"))), "hello\r\n"),
    ("body without a last line end", BASE, "hello"),
    ("body with leading dots and trailing space", BASE, ".\r\n..x \r\n\r\n\r\n"),
    ("UTF-8 in a field", BASE.replace("Hello", "Grüße"), "hello\r\n"),
]

REFUSED = (
    [(f"{name} twice", BASE + (f"{name}: x\r\n" if f"{name}:" in BASE else f"{name}: x\r\n{name.upper()}: x\r\n"))
     for name in SIGNED + ["X-Sender-Pubkey", "X-Sender-Signature"]]
    + [("no From", BASE.replace("From:", "X-From:")),
       ("two mailboxes in From", BASE.replace("From: ", "From: eve@example.org, ")),
       ("a group in From", BASE.replace("Alice <alice@example.net>", "friends: alice@example.net;")),
       ("no address in From", BASE.replace(" <alice@example.net>", ""))])

# --- whole messages; the reader is bob@example.com, who knows Alice's key ---

OUTER = ("From: alice@example.net\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n"
         "Message-ID: <1@example.net>\r\nSubject: [...]\r\nMIME-Version: 1.0\r\nContent-Type: application/age\r\n"
         "Content-Disposition: inline; filename=\"message.age\"\r\nContent-Transfer-Encoding: 7bit\r\nX-Sender-Encrypted: yes\r\n")
PAYLOAD = ("From: alice@example.net\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n"
           "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n"
           "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"\r\nContent-Transfer-Encoding: quoted-printable\r\n"
           "HP-Outer: From: alice@example.net\r\nHP-Outer: To: bob@example.com\r\n"
           "HP-Outer: Date: Mon, 23 Nov 2026 21:36:00 +0000\r\nHP-Outer: Message-ID:\r\n <1@example.net>\r\n"
           "HP-Outer: Subject: [...]\r\n\r\nsecret =3D text\r\n")


def sealed(payload=PAYLOAD, outer=OUTER, key=ALICE, to=(BOB,)):
    return sign(outer, seal(payload, *to), key)


def messages():
    good = sealed()
    head, body = good.split("\r\n\r\n", 1)
    encoded = base64.encodebytes(body.encode()).decode().replace("\n", "\r\n")
    plain = sign(BASE, "hello\r\n", ALICE)
    with_bcc = PAYLOAD.replace("Date:", "Bcc: bob@example.com,\r\n dave@example.org\r\nDate:", 1)
    sha = hashlib.sha256(PAYLOAD.encode()).hexdigest()
    rows = [
        ("sealed", "good", good, sha),
        ("sealed to two", "good", sealed(to=(CAROL, BOB)), sha),
        ("sealed, with Bcc inside", "good", sealed(with_bcc), sha),
        ("sealed, signed with RSA", "good", sealed(key=RSA), sha),
        ("sealed, signature in capitals", "good", re.sub(r"(?<=X-Sender-Signature: ed25519 )[0-9a-f\r\n ]*?(?=\r\n\r\n)", lambda m: m[0].upper(), good, count=1), sha),
        ("sealed, a list's footer behind it", "good, altered on the way", good + "-- \r\nlist\r\n", sha),
        ("sealed, encoded in base64", "good, altered on the way", head.replace("Encoding: 7bit", "Encoding: base64") + "\r\n\r\n" + encoded, sha),
        ("sealed, line ends LF", "good, altered on the way", good.replace("\r\n", "\n"), sha),
        ("sealed, other recipient outside", "signature bad", good.replace("To: bob@", "To: eve@", 1), None),
        ("sealed, a field twice", "signature bad", "Subject: [...]\r\n" + good, None),
        ("sealed, no signature", "sealed but not signed", good.replace("X-Sender-Signature", "X-Other"), None),
        ("sealed, signed with another key", "not the sender's key", sealed(key=CAROL), None),
        ("sealed to another", "cannot be opened", sealed(to=(CAROL,)), None),
        ("sealed, cut off", "cannot be opened", good[:-40], None),
        ("yes without armour", "cannot be opened", sign(OUTER, "hello\r\n", ALICE), None),
        ("HP-Outer differs", "wrapped by another", sealed(PAYLOAD.replace("HP-Outer: To: bob@", "HP-Outer: To: carol@")), None),
        ("HP-Outer lacks one", "wrapped by another", sealed(PAYLOAD.replace("HP-Outer: To: bob@example.com\r\n", "")), None),
        ("inner From differs", "wrapped by another", sealed("From: carol@example.org" + PAYLOAD[len("From: alice@example.net"):]), None),
        ("to somebody else", "not written to you", sealed(PAYLOAD.replace("bob@example.com", "dave@example.org"), OUTER.replace("bob@example.com", "dave@example.org")), None),
        ("plain", "good", plain, hashlib.sha256((signature_head(BASE) + "hello\r\n").encode()).hexdigest()),
        ("plain, signed with RSA", "good", sign(BASE, "hello\r\n", RSA), hashlib.sha256((signature_head(BASE) + "hello\r\n").encode()).hexdigest()),
        ("plain, empty lines added", "good, altered on the way", plain + "\r\n\r\n", hashlib.sha256((signature_head(BASE) + "hello\r\n").encode()).hexdigest()),
        ("plain, a word changed", "signature bad", plain.replace("hello", "jello"), None),
        ("plain, the field taken out", "signature bad", plain.replace("X-Sender-Encrypted: no\r\n", ""), None),
        ("plain, no signature", "plain", plain.replace("X-Sender-Signature", "X-Other"), None),
        ("armour without yes, no signature", "plain", BASE + "\r\n" + body, None),
    ]
    return [dict(name=n, verdict=v, payload_sha256=h, message=m) for n, v, m, h in rows]


def main():
    inputs = [dict(name=name, header=head, body=body, head=signature_head(head),
                   input_sha256=hashlib.sha256((signature_head(head) + body).encode()).hexdigest(),
                   signature=ALICE.sign((signature_head(head) + body).encode()).hex())
              for name, head, body in INPUTS]
    print(json.dumps({
        "rules": [
            "inputs: `head` and then `body` is the signature input of a message with that header and body; `signature` is Ed25519 by sender_keys[0], whose seed is 32 octets 01",
            "refused: no signature over this header can be valid",
            "messages: the verdict of a reader whose address and seed are given and for whom sender_keys are the sender's keys, pinned; `payload_sha256` is what replay memory holds (null: nothing)",
        ],
        "reader": {"address": "bob@example.com", "seed": BOB.seed.hex()},
        "sender_keys": [ALICE.openssh, RSA.openssh],
        "inputs": inputs,
        "refused": [dict(name=name, header=head) for name, head in REFUSED],
        "messages": messages(),
    }, indent=1, ensure_ascii=False))


main()
