"""IMAPClient's whole surface against a server: client.py HOST PORT CA USER, the password in PASSWORD. Prints `ok`."""
import datetime, os, ssl, sys

import imapclient
from imapclient import IMAPClient
from imapclient.imapclient import ARCHIVE, DRAFTS, JUNK, SENT, TRASH

HOST, PORT, CA, USER = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
# How long something may take that should take a moment.
PATIENCE = 60


def connect():
    client = IMAPClient(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA), timeout=PATIENCE)
    client.login(USER, os.environ["PASSWORD"])
    return client


def message(subject, body="Wörter.\r\n"):
    text = f"From: Bob <bob@example.com>\r\nTo: {USER}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.com>\r\n" \
        f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{body}"
    return text.encode()


def until(client, wanted):
    """What IDLE tells until `wanted` is among it."""
    told = []
    while not any(wanted(one) for one in told):
        more = client.idle_check(timeout=PATIENCE)
        assert more, f"IDLE was not woken: {told}"
        told += more
    return told


actor, watcher = connect(), connect()

# Where mail goes, by SPECIAL-USE.
assert actor.namespace().personal == (("", "/"),), actor.namespace()
for use, name in [(SENT, "Sent"), (DRAFTS, "Drafts"), (JUNK, "Junk"), (ARCHIVE, "Archive"), (TRASH, "Trash")]:
    assert actor.find_special_folder(use) == name, use

# IDLE: a new message, a flag, a removal.
assert watcher.select_folder("INBOX")[b"EXISTS"] == 0
watcher.idle()
when = datetime.datetime(2020, 2, 29, 12, 30, 15, tzinfo=datetime.timezone.utc)
appended = actor.append("INBOX", message("one"), flags=[imapclient.FLAGGED, "$Label"], msg_time=when)
assert b"APPENDUID" in appended, appended
until(watcher, lambda one: one == (1, b"EXISTS"))
actor.select_folder("INBOX")
(one,) = actor.search()
actor.add_flags([one], [imapclient.ANSWERED])
told = until(watcher, lambda one: len(one) == 3 and one[1] == b"FETCH")
assert any(b"\\Answered" in flags for _, _, items in told for flags in [items[items.index(b"FLAGS") + 1]]), told
actor.delete_messages([one])
actor.expunge()
until(watcher, lambda one: one == (1, b"EXPUNGE"))
text, _ = watcher.idle_done()
assert b"IDLE" in text, text
assert watcher.search() == []

# Several at once, and what FETCH tells of them.
actor.multiappend("INBOX", [message(name) for name in ("two", "three", "Größe")])
uids = actor.search()
assert uids == [one + 1, one + 2, one + 3], uids
two, three, four = uids
assert watcher.noop()[0] and watcher.search() == uids
got = watcher.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE", "FLAGS", "BODY.PEEK[]"])
for uid, name in zip(uids, ("two", "three", "Größe")):
    items = got[uid]
    assert items[b"BODY[]"] == message(name) and items[b"RFC822.SIZE"] == len(message(name)), items
    assert items[b"ENVELOPE"].from_[0].mailbox == b"bob" and items[b"FLAGS"] == (), items
    assert items[b"BODYSTRUCTURE"][:2] == (b"text", b"plain") or items[b"BODYSTRUCTURE"][0].lower() == b"text", items
assert watcher.fetch([two], ["BODY[TEXT]"])[two][b"BODY[TEXT]"] == "Wörter.\r\n".encode()
assert imapclient.SEEN in watcher.get_flags([two])[two]

# SEARCH with words beyond ASCII, which go as literals.
assert actor.search(["SUBJECT", "größe"], charset="UTF-8") == [four]
assert actor.search(["BODY", "wörter", "NOT", "SUBJECT", "two"], charset="UTF-8") == [three, four]
assert actor.search(["UNSEEN", "SINCE", datetime.date(2019, 1, 1)]) == [three, four]

# The server's own order.
assert actor.sort("SUBJECT") == [four, three, two]
assert actor.sort("REVERSE SUBJECT", ["UNSEEN"]) == [three, four]
assert sorted(actor.thread("REFERENCES")) == [(uid,) for uid in uids]

# Flags: set, add, remove; what the other session is told.
assert actor.set_flags([three], [imapclient.DRAFT, "custom"]) == {three: (b"\\Draft", b"custom")}
actor.remove_flags([three], ["custom"], silent=True)
assert watcher.get_flags([three]) == {three: (b"\\Draft",)}

# What changed since: CONDSTORE.
assert actor.has_capability("CONDSTORE")
before = watcher.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"]
actor.add_flags([two], [imapclient.FLAGGED])
changed = watcher.fetch(uids, ["FLAGS", "MODSEQ"], [f"CHANGEDSINCE {before}"])
assert list(changed) == [two] and changed[two][b"MODSEQ"][0] > before, changed
assert imapclient.FLAGGED in changed[two][b"FLAGS"], changed
found = watcher.search(["MODSEQ", str(before + 1)])
assert found == [two] and found.modseq > before, (found, found.modseq)

# Folders: names beyond ASCII, trees, subscriptions, status.
actor.create_folder("Größe/Café")
actor.subscribe_folder("Größe/Café")
assert "Größe/Café" in [name for _, _, name in watcher.list_sub_folders()]
flags = {name: flags for flags, _, name in watcher.list_folders()}
assert b"\\HasChildren" in flags["Größe"] and b"\\HasNoChildren" in flags["Größe/Café"], flags
actor.rename_folder("Größe", "Maß")
assert watcher.folder_exists("Maß/Café") and not watcher.folder_exists("Größe/Café")

# COPY and MOVE, read by the other session.
actor.copy([two, three], "Maß/Café")
status = watcher.folder_status("Maß/Café", ["MESSAGES", "UIDNEXT", "UNSEEN"])
assert (status[b"MESSAGES"], status[b"UIDNEXT"], status[b"UNSEEN"]) == (2, 3, 1), status
assert actor.has_capability("MOVE") and actor.has_capability("UIDPLUS")
actor.move([two, four], "Archive")
assert actor.search() == [three]
watcher.select_folder("Archive", readonly=True)
moved = watcher.fetch(watcher.search(), ["BODY.PEEK[]", "FLAGS"])
assert [items[b"BODY[]"] for items in moved.values()] == [message("two"), message("Größe")], moved
assert [imapclient.SEEN in items[b"FLAGS"] for items in moved.values()] == [True, False], moved
try:
    watcher.add_flags([1], [imapclient.SEEN])
    raise SystemExit("flags were set in a mailbox that is open to read only")
except imapclient.exceptions.IMAPClientError as refused:
    assert "read only" in str(refused), refused

# UID EXPUNGE removes what it names.
actor.select_folder("Maß/Café")
actor.delete_messages([1, 2])
actor.uid_expunge([2])
assert actor.search() == [1]
actor.close_folder()
assert watcher.folder_status("Maß/Café", ["MESSAGES"])[b"MESSAGES"] == 0
actor.delete_folder("Maß/Café")
assert not watcher.folder_exists("Maß/Café")

# A name without a mailbox, and a wrong password.
try:
    actor.select_folder("absent")
    raise SystemExit("a mailbox was selected that is not there")
except imapclient.exceptions.IMAPClientError:
    pass
stranger = IMAPClient(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA), timeout=PATIENCE)
try:
    stranger.login(USER, "wrong")
    raise SystemExit("a wrong password was taken")
except imapclient.exceptions.LoginError as refused:
    assert "AUTHENTICATIONFAILED" in str(refused), refused
actor.logout()
watcher.logout()
print("ok")
