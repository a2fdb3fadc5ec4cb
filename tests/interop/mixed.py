"""A mailbox of sealed, signed and plain mail as IMAPClient reads it: mixed.py HOST PORT CA USER FOLDER, the password in
PASSWORD. All that the server tells of a message is held against the message's own octets, as Python's email package
reads them; each goes to FOLDER/UID.eml. Prints `ok`."""
import email, email.header, email.policy, email.utils, os, ssl, sys

from imapclient import IMAPClient

HOST, PORT, CA, USER, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]


def decoded(text):
    parts = email.header.decode_header((text or b"").decode())
    return "".join(part.decode(charset or "utf-8") if isinstance(part, bytes) else part for part, charset in parts)


def leaves(structure, path=()):
    """The parts that are no multipart, each with its number and what BODYSTRUCTURE says of it."""
    if structure.is_multipart:
        for number, child in enumerate(structure[0], 1):
            yield from leaves(child, (*path, number))
    else:
        yield ".".join(map(str, path or (1,))), structure


def check(client, uid, items):
    octets = items[b"BODY[]"]
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert items[b"RFC822.SIZE"] == len(octets), uid
    assert items[b"BODY[HEADER]"] + items[b"BODY[TEXT]"] == octets, (uid, items)
    envelope = items[b"ENVELOPE"]
    assert decoded(envelope.subject) == message["Subject"], (envelope, message["Subject"])
    assert envelope.message_id.decode() == message["Message-ID"], envelope
    for name, addresses in [("From", envelope.from_), ("To", envelope.to), ("Cc", envelope.cc)]:
        told = [f"{one.mailbox.decode()}@{one.host.decode()}" for one in addresses or ()]
        assert told == [address for _, address in email.utils.getaddresses(message.get_all(name, []))], (name, told)
    told = list(leaves(items[b"BODYSTRUCTURE"]))
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert len(told) == len(parts), (uid, told)
    names = [f"BODY.PEEK[{number}]" for number, _ in told]
    if items[b"BODYSTRUCTURE"].is_multipart:
        names += [f"BODY.PEEK[{number}.MIME]" for number, _ in told]
    got = client.fetch([uid], names)[uid]
    for (number, structure), part in zip(told, parts):
        type_, subtype = structure[0].decode().lower(), structure[1].decode().lower()
        assert f"{type_}/{subtype}" == part.get_content_type(), (uid, number, structure)
        assert structure[5].decode().lower() == (part["Content-Transfer-Encoding"] or "7bit").lower(), (uid, structure)
        body = got[f"BODY[{number}]".encode()]
        assert structure[6] == len(body), (uid, number, structure, len(body))
        if type_ == "text":
            assert structure[7] == body.count(b"\n"), (uid, number, structure)
        assert got.get(f"BODY[{number}.MIME]".encode(), b"") + body in octets, (uid, number)
    # Pieces are pieces of the same, and a search finds what the header says.
    piece = client.fetch([uid], ["BODY.PEEK[]<100.50>"])[uid]
    assert piece[b"BODY[]<100>"] == octets[100:150], uid
    assert uid in client.search(["SUBJECT", message["Subject"]], charset="UTF-8"), uid
    with open(os.path.join(FOLDER, f"{uid}.eml"), "wb") as file:
        file.write(octets)


def read():
    client = IMAPClient(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA), timeout=60)
    client.login(USER, os.environ["PASSWORD"])
    client.select_folder("INBOX")
    uids = client.search()
    before = client.fetch(uids, ["FLAGS"])
    got = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]",
                              "BODY.PEEK[]"])
    assert sorted(got) == uids
    for uid in uids:
        check(client, uid, got[uid])
    # Nothing was asked that marks as read.
    after = client.fetch(uids, ["FLAGS"])
    assert not any(rb"\Seen" in items[b"FLAGS"] for items in after.values()), after
    # The program's own keywords, beside those that tell verdicts.
    client.add_flags(uids, ["own-keyword"])
    for uid, items in client.fetch(uids, ["FLAGS"]).items():
        assert set(items[b"FLAGS"]) - {rb"\Recent"} == set(after[uid][b"FLAGS"]) | {b"own-keyword"}, (uid, items)
    client.logout()
    return {uid: (set(items[b"FLAGS"]), got[uid][b"BODY[]"]) for uid, items in after.items()}, before


first, _ = read()
second, before = read()
assert {uid: octets for uid, (_, octets) in first.items()} == {uid: octets for uid, (_, octets) in second.items()}
# The second session was told at once what the first one left.
for uid, (flags, _) in first.items():
    assert set(before[uid][b"FLAGS"]) >= (flags - {rb"\Recent"}) | {b"own-keyword"}, uid
print("ok")
