"""Camel, the mail library of Evolution, which uses NOTIFY wherever a server has it: evolution.py HOST PORT CA USER
[qresync], the password in PASSWORD, and CAMEL_DEBUG=imapx:io. What another session does Camel hears of without being
asked to look. Prints `ok`."""
import imaplib, os, ssl, sys, tempfile

import gi

gi.require_version("Camel", "1.2")
from gi.repository import Camel, Gio, GLib

HOST, PORT, CA, USER = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
QRESYNC = len(sys.argv) > 5
PASSWORD = os.environ["PASSWORD"]
# How long something may take that should take a moment, in seconds.
PATIENCE = 60


class Session(Camel.Session):
    def do_get_password(self, service, prompt, item, flags):
        return PASSWORD

    def do_authenticate_sync(self, service, mechanism, cancellable):
        service.set_password(PASSWORD)
        return service.authenticate_sync(mechanism, cancellable) == Camel.AuthenticationResult.ACCEPTED

    def do_trust_prompt(self, service, certificate, errors):
        # The authority is the test's own: it must have signed this certificate, for this name.
        wrong = certificate.verify(Gio.NetworkAddress.new(HOST, PORT), Gio.TlsCertificate.new_from_file(CA))
        return Camel.CertTrust.NEVER if wrong else Camel.CertTrust.TEMPORARY


def until(what, wanted):
    """Lets Camel work until `wanted` holds."""
    context = GLib.MainContext.default()
    deadline = GLib.get_monotonic_time() + PATIENCE * 1_000_000
    tick = GLib.timeout_add(20, lambda: True)
    while not wanted():
        assert GLib.get_monotonic_time() < deadline, f"Camel did not hear of it: {what}\n{heard()}"
        context.iteration(True)
    GLib.source_remove(tick)


def heard():
    """What was said between Camel and the server."""
    with open(said, encoding="utf-8", errors="replace") as file:
        return file.read()


home = tempfile.mkdtemp()
# Camel writes it to standard output, with CAMEL_DEBUG.
said, terminal = os.path.join(home, "said"), os.dup(1)
os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 1)
Camel.init(home, True)
Camel.Provider.init()
session = Session(user_data_dir=os.path.join(home, "data"), user_cache_dir=os.path.join(home, "cache"))
session.set_online(True)
store = session.add_service("alice", "imapx", Camel.ProviderType.STORE)
settings = store.ref_settings()
for name, value in {
    "host": HOST,
    "port": PORT,
    "user": USER,
    "auth-mechanism": "PLAIN",
    "security-method": Camel.NetworkSecurityMethod.SSL_ON_ALTERNATE_PORT,
    "use-idle": True,
    "use-qresync": QRESYNC,
    "check-all": True,
}.items():
    settings.set_property(name, value)
assert store.set_online_sync(True, None) and store.connect_sync(None)
inbox = store.get_folder_sync("INBOX", 0, None)
inbox.refresh_info_sync(None)
assert inbox.get_message_count() == 0

other = imaplib.IMAP4_SSL(HOST, PORT, ssl_context=ssl.create_default_context(cafile=CA), timeout=PATIENCE)
other.login(USER, PASSWORD)


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
