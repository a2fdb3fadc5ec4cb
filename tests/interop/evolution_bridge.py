"""Camel, the mail library of Evolution, set up with a bridge: evolution_bridge.py HOST PORT CA USER FOLDER, the password
in PASSWORD. Reads INBOX, each message to FOLDER/UID.eml, and holds its list against them; flags one, files one's own
message. Prints `ok`."""
import email, email.policy, email.utils, os, sys

import camel
from camel import Camel

HOST, PORT, CA, USER, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
OWN = (f"From: Alice <{USER}>\r\nTo: Bob <bob@example.com>\r\nSubject: Größe 5\r\nMessage-ID: <5@camel.example>\r\n"
       "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
       "Content-Transfer-Encoding: 8bit\r\n\r\ntopic55, größer\r\n").encode()

store = camel.connect(HOST, PORT, CA, USER, **{"use-idle": False, "use-qresync": False})
inbox = store.get_folder_sync("INBOX", 0, None)
inbox.refresh_info_sync(None)
for uid in inbox.get_uids():
    assert inbox.get_message_sync(uid, None)
    # As it came, in its cache; get_filename leaves out that whole messages lie apart from parts.
    with open(inbox.get_filename(uid).replace("/INBOX/cache/", "/INBOX/cur/"), "rb") as file:
        octets = file.read()
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    info = inbox.get_message_info(uid)
    assert info.get_subject() == message["Subject"], (info.get_subject(), message["Subject"])
    name, address = email.utils.parseaddr(message["From"])
    assert info.get_from() == f"{name} <{address}>", info.get_from()
    assert info.get_user_flag("$Withheld") == message["Subject"].startswith("[Withheld"), uid
    assert info.get_user_flag("$Signed") == (message.get("Sealpost-Verdict") or "").startswith("good"), uid
    with open(os.path.join(FOLDER, f"{uid}.eml"), "wb") as file:
        file.write(octets)

first = inbox.get_uids()[0]
info = inbox.get_message_info(first)
info.set_flags(Camel.MessageFlags.FLAGGED, Camel.MessageFlags.FLAGGED)
info.set_user_flag("own-keyword", True)
assert inbox.synchronize_sync(False, None)
# The list of folders, as its window shows it first.
assert store.get_folder_info_sync(None, Camel.StoreGetFolderInfoFlags.RECURSIVE, None)
sent = store.get_folder_sync("Sent", 0, None)
own = Camel.MimeMessage.new()
assert own.construct_from_stream_sync(Camel.StreamMem.new_with_buffer(OWN), None)
assert sent.append_message_sync(own, None, None)[0]
sent.refresh_info_sync(None)
assert sent.get_message_count() == 1
assert sent.get_message_info(sent.get_uids()[0]).get_subject() == "Größe 5"
store.disconnect_sync(True, None)
print("ok")
