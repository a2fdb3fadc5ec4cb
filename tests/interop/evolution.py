"""Camel, the mail library of Evolution, which uses NOTIFY wherever a server has it: evolution.py HOST PORT CA USER
[qresync], the password in PASSWORD, and CAMEL_DEBUG=imapx:io. What another session does Camel hears of without being
asked to look. Prints `ok`."""
import imaplib, os, ssl, sys, tempfile

import camel

HOST, PORT, CA, USER = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
QRESYNC = len(sys.argv) > 5
PATIENCE = camel.PATIENCE


def heard():
    """What was said between Camel and the server."""
    with open(said, encoding="utf-8", errors="replace") as file:
        return file.read()


def until(what, wanted):
    camel.until(what, wanted, heard)


# Camel writes it to standard output, with CAMEL_DEBUG.
said, terminal = os.path.join(tempfile.mkdtemp(dir=os.environ["HOME"]), "said"), os.dup(1)
os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 1)
store = camel.connect(HOST, PORT, CA, USER, **{"use-idle": True, "use-qresync": QRESYNC})
inbox = store.get_folder_sync("INBOX", 0, None)
inbox.refresh_info_sync(None)
assert inbox.get_message_count() == 0

other = imaplib.IMAP4_SSL(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA), timeout=PATIENCE)
other.login(USER, os.environ["PASSWORD"])


def append(mailbox, subject):
    text = f"From: Bob <bob@example.com>\r\nSubject: {subject}\r\n\r\nHello.\r\n"
    assert other.append(mailbox, None, None, text.encode())[0] == "OK"


# The selected mailbox: a new message with its header, a flag, a removal. What it makes of the last two depends on how far
# it is with the first; that it was told does not.
append("INBOX", "Lunch")
until("a new message", lambda: inbox.get_message_count() == 1)
(uid,) = inbox.get_uids()
info = inbox.get_message_info(uid)
assert info.get_subject() == "Lunch", info.get_subject()
assert other.select("INBOX")[0] == "OK"
assert other.store("1", "+FLAGS", r"(\Flagged)")[0] == "OK"
until("a flag", lambda: r"* 1 FETCH (UID 1 FLAGS (\Flagged)" in heard())
assert other.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
assert other.expunge()[0] == "OK"
until("a removal", lambda: ("* VANISHED 1" if QRESYNC else "* 1 EXPUNGE") in heard())

# Another mailbox, and one that is new: Camel is told of both.
assert other.create("Lists")[0] == "OK"
until("a new mailbox", lambda: r'* LIST (\HasNoChildren) "/" Lists' in heard())
append("Lists", "Tea")
until("a message elsewhere", lambda: "* STATUS Lists (MESSAGES 1 UIDNEXT 2" in heard())
assert "NOTIFY SET (selected " in heard()

store.disconnect_sync(True, None)
os.write(terminal, b"ok\n")
