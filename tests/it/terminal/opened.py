"""What is inside a sealed message of a Maildir, for programs written elsewhere: `age -d` opens it with an exported key,
Python's email package reads it. Arguments: Maildir, key file, Message-ID. Prints a JSON object."""

import email, email.policy, json, os, subprocess, sys

folder, key, wanted = sys.argv[1:]
names = [os.path.join(folder, sub, name) for sub in ("cur", "new") for name in os.listdir(os.path.join(folder, sub))]
outer = next(
    message
    for message in (email.message_from_binary_file(open(name, "rb"), policy=email.policy.default) for name in names)
    if message["Message-ID"] == wanted
)
inner = subprocess.run(
    ["age", "-d", "-i", key], input=outer.get_payload().encode(), stdout=subprocess.PIPE, check=True
).stdout
assert b"\r\n" in inner and inner.replace(b"\r\n", b"").find(b"\n") < 0, "not all lines end in CRLF"
assert all(len(line) <= 998 for line in inner.split(b"\r\n")) and max(inner) < 128, "not 7-bit lines"
message = email.message_from_bytes(inner, policy=email.policy.default)


def defects(part):
    return [str(d) for d in part.defects] + [d for sub in part.iter_parts() for d in defects(sub)]


parts = []
for part in message.iter_attachments():
    content = part.get_content()
    entry = {"name": part.get_filename(), "type": part.get_content_type(), "encoding": part["Content-Transfer-Encoding"]}
    if part.get_content_type() == "message/rfc822":
        entry["fields"] = {name.lower(): str(value) for name, value in content.items()}
        entry["text"] = content.get_body().get_content().replace("\r\n", "\n")
    else:
        entry["octets"] = (content if isinstance(content, bytes) else content.encode()).hex()
    parts.append(entry)
body = message.get_body()
json.dump(
    {
        "outer": {name.lower(): str(value) for name, value in outer.items()},
        "fields": {name.lower(): str(value) for name, value in message.items()},
        "text": body.get_content().replace("\r\n", "\n"),
        "parts": parts,
        "defects": defects(message),
    },
    sys.stdout,
)
