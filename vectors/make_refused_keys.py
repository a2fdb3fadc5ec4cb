#!/usr/bin/env python3
"""Keys as `PUBKEY` answers them (the words after `220 `), and what becomes of each.

    make_refused_keys.py > refused-keys.json

Standard library only: points are computed here from the curve's equation. Outcome classes:
    taken        a good key
    base64       outer or inner text is not canonical, padded, standard base64
    blob         not a well-formed OpenSSH blob, or something before or behind it
    algorithm    an algorithm that is neither ed25519 nor rsa
    mismatch     the token names another algorithm than the blob
    weak point   off the curve, not canonical, or of small order
    rsa bounds   RSA outside 3072 to 4096 bits, or e other than 65537
"""
import base64, hashlib, json, struct

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def on_curve(y):
    """Whether some x has -x² + y² = 1 + d x² y²."""
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x2 = u * pow(v, P - 2, P) % P
    return x2 == 0 or pow(x2, (P - 1) // 2, P) == 1


def string(b):
    return struct.pack(">I", len(b)) + b


def mpint(n):
    return string(n.to_bytes(n.bit_length() // 8 + 1, "big"))


def b64(b):
    return base64.b64encode(b).decode()


def wire(blob):
    return b64(b64(blob).encode())


def ed(point):
    return string(b"ssh-ed25519") + string(point)


def enc(y, sign=0):
    return (y | sign << 255).to_bytes(32, "little")


def rsa(e, n):
    return string(b"ssh-rsa") + e + n


def modulus(bits):
    """Deterministic, of exactly so many bits, odd; nobody knows its factors."""
    stream = b"".join(hashlib.sha512(b"sealpost modulus %d %d" % (bits, i)).digest() for i in range(9))
    n = int.from_bytes(stream, "big") >> (len(stream) * 8 - bits)
    return n | 1 << (bits - 1) | 1


cases = []


def case(name, outcome, reply):
    cases.append(dict(name=name, outcome=outcome, reply=reply))


good_point = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIB+piVHuIXGRWRk62uU8aoMOLI45P2B8y3h9fABOyLVc")[-32:]
good, E = ed(good_point), mpint(65537)

case("ed25519", "taken", "ed25519 " + wire(good))
for bits in (3072, 3073, 4095, 4096):
    case(f"rsa of {bits} bits", "taken", "rsa " + wire(rsa(E, mpint(modulus(bits)))))
for bits in (1024, 2048, 3071):
    case(f"rsa of {bits} bits", "rsa bounds", "rsa " + wire(rsa(E, mpint(modulus(bits)))))
case("rsa of 4097 bits", "rsa bounds", "rsa " + wire(rsa(E, mpint(modulus(4097)))))
N = mpint(modulus(3072))
for e in (1, 3, 17, 65536, 65539, 2**32 + 1):
    case(f"rsa, e = {e}", "rsa bounds", "rsa " + wire(rsa(mpint(e), N)))
raw = modulus(3072).to_bytes(384, "big")
case("rsa, even modulus", "blob", "rsa " + wire(rsa(E, mpint(modulus(3072) - 1))))
case("rsa, modulus negative", "blob", "rsa " + wire(rsa(E, string(raw))))
case("rsa, modulus with two zeros in front", "blob", "rsa " + wire(rsa(E, string(b"\0\0" + raw))))
case("rsa, exponent with a zero in front", "blob", "rsa " + wire(rsa(string(b"\0\1\0\1"), N)))
case("rsa, exponent and modulus swapped", "rsa bounds", "rsa " + wire(rsa(N, E)))
case("rsa, no modulus", "blob", "rsa " + wire(rsa(E, b"")))
case("rsa, empty modulus", "blob", "rsa " + wire(rsa(E, string(b""))))
case("rsa, octet behind", "blob", "rsa " + wire(rsa(E, N) + b"\0"))

# The eight points of small order: y = 1, -1, 0 (twice), and the four of order 8.
y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
assert on_curve(y8) and on_curve(0)
for y, sign in ((1, 0), (P - 1, 0), (0, 0), (0, 1), (y8, 0), (y8, 1), (P - y8, 0), (P - y8, 1)):
    case(f"small order, y = {y:x}, sign {sign}", "weak point", "ed25519 " + wire(ed(enc(y, sign))))
# The same written otherwise: x = 0 with the sign bit, y + p.
for y, sign in ((1, 1), (P - 1, 1), (P, 0), (P, 1), (P + 1, 0), (P + 1, 1)):
    case(f"small order, not canonical, y = {y:x}, sign {sign}", "weak point", "ed25519 " + wire(ed(enc(y, sign))))
for y in range(P + 2, 2**255):
    kind = "not canonical" if on_curve(y - P) else "not canonical and off the curve"
    case(f"{kind}, y = p + {y - P}", "weak point", "ed25519 " + wire(ed(enc(y))))
off = [y for y in range(2, 100) if not on_curve(y)][:3]
for y in off:
    case(f"off the curve, y = {y}", "weak point", "ed25519 " + wire(ed(enc(y))))

case("octet behind the point", "blob", "ed25519 " + wire(good + b"\0"))
case("octet before the blob", "blob", "ed25519 " + wire(b"\0" + good))
case("point of 31 octets", "blob", "ed25519 " + wire(ed(good_point[:31])))
case("point of 33 octets", "blob", "ed25519 " + wire(ed(good_point + b"\0")))
case("length runs over the end", "blob", "ed25519 " + wire(good[:15] + b"\0\0\0\x21" + good_point))
case("no point", "blob", "ed25519 " + wire(string(b"ssh-ed25519")))
case("the bare point", "blob", "ed25519 " + wire(good_point))
case("empty blob", "blob", "ed25519 " + wire(b""))
case("ed448", "algorithm", "ed25519 " + wire(string(b"ssh-ed448") + string(bytes(57))))
case("hardware key", "algorithm",
     "ed25519 " + wire(string(b"sk-ssh-ed25519@openssh.com") + string(good_point) + string(b"ssh:")))
case("name in capitals", "algorithm", "ed25519 " + wire(string(b"SSH-ED25519") + string(good_point)))
case("token rsa, blob ed25519", "mismatch", "rsa " + wire(good))
case("token ed25519, blob rsa", "mismatch", "ed25519 " + wire(rsa(E, N)))
case("token in capitals", "algorithm", "ED25519 " + wire(good))
case("token of OpenSSH", "algorithm", "ssh-ed25519 " + wire(good))
case("unknown token", "algorithm", "ed448 " + wire(good))
case("encoded once only", "base64", "ed25519 " + b64(good))
case("encoded three times", "blob", "ed25519 " + b64(wire(good).encode()))
case("no padding", "base64", "ed25519 " + wire(good).rstrip("="))
case("inner text with a line end", "base64", "ed25519 " + b64(b64(good).encode() + b"\n"))
case("inner text with the type in front", "base64", "ed25519 " + b64(b"ssh-ed25519 " + b64(good).encode()))
case("inner text with a comment behind", "base64", "ed25519 " + b64(b64(good).encode() + b" alice"))
case("url alphabet", "base64", "ed25519 " + b64(b64(good).replace("+", "-").encode()))
case("space behind", "base64", "ed25519 " + wire(good) + " ")
case("two spaces", "base64", "ed25519  " + wire(good))
case("no key", "blob", "ed25519 ")
case("no space", "blob", "ed25519")

print(json.dumps(dict(rules=__doc__.splitlines()[2:], cases=cases), indent=1))
