"""Python's mailbox module on both sides of `sealpost import` and `export`: transfer.py PROGRAM DEMO_JSON FOLDER.
Prints `ok` at its end."""
import email, imaplib, json, mailbox, os, re, socket, ssl, subprocess, sys, time

PROGRAM, PATH, WORK = sys.argv[1:]
DEMO = json.load(open(PATH))
NET, COM = DEMO["servers"]
ALICE, BOB = DEMO["users"]
CA = os.path.join(os.path.dirname(PATH), DEMO["ca_file"])
os.umask(0o077)
os.environ["TZ"] = "UTC"
time.tzset()

KNOWN = {s["host"]: s["smtp"].rsplit(":", 1)[0] for s in (NET, COM)}
system = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: system(KNOWN.get(host, host), *rest, **named)


def at(*names):
    return os.path.join(WORK, *names)


def run(user, *args, status=0):
    command = [PROGRAM, "--dir", user["client_dir"], "--json", *args]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == status, (args, done.returncode, done.stdout, done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["event"] == "summary" and lines[-1]["exit"] == status, lines
    return lines


def summary(*args, **named):
    last = run(*args, **named)[-1]
    return last["messages"], last["already"], last["skipped"]


def imap(server, user):
    host, port = server["host"], int(server["imaps"].rsplit(":", 1)[1])
    i = imaplib.IMAP4_SSL(host, port, ssl_context=ssl.create_default_context(cafile=CA), timeout=60)
    i.login(user["address"], user["app_password"])
    return i


def stored(server, user, name):
    """What lies in a mailbox: octets, flags and seconds of each message, in its order."""
    i = imap(server, user)
    assert i.select(f'"{name}"', readonly=True)[0] == "OK", name
    kind, parts = i.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    found = []
    for part in parts:
        if isinstance(part, tuple):
            flags = {f.decode() for f in imaplib.ParseFlags(part[0])} - {"\\Recent"}
            date = time.mktime(imaplib.Internaldate2tuple(part[0]))
            found.append((part[1], frozenset(flags), int(date)))
    i.logout()
    return found


def message(n, text="Hello.\n"):
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = "old@example.org", ALICE["address"], f"Nummer {n} ü"
    m["Message-ID"] = f"<{n}@old.example.org>"
    m.set_content(text)
    return m.as_bytes()


def crlf(octets):
    return octets.replace(b"\n", b"\r\n")


# A Maildir++ as Python writes it, with flags, dates, keywords as Dovecot keeps them.
FLAGS = {"D": "\\Draft", "F": "\\Flagged", "P": "$Forwarded", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "a": "work"}
maildir = mailbox.Maildir(at("Maildir"), create=True)
expected = {}
for name, flagsets in (("", ["", "S", "FRS", "T"]), ("Work.2024", ["D", "Pa"]), ("Entw&APw-rfe 1", ["S"])):
    folder = maildir.add_folder(name) if name else maildir
    with open(os.path.join(folder._path, "dovecot-keywords"), "w") as f:
        f.write("0 work\n")
    for n, flags in enumerate(flagsets):
        octets = message(f"{name} {n}", "From here on.\n>From there.\n.\n")
        m = mailbox.MaildirMessage(octets)
        m.set_subdir("cur" if flags else "new")
        m.set_flags(flags)
        m.set_date(1_000_000_000 + n)
        key = folder.add(m)
        # Its own writer changes octets; these are what a server would have written.
        with open(os.path.join(folder._path, folder._lookup(key)), "wb") as f:
            f.write(octets)
        os.utime(f.name, (0, 1_000_000_000 + n))
        target = {"": "INBOX", "Work.2024": "Work/2024"}.get(name, "Entw&APw-rfe 1")
        expected.setdefault(target, []).append((crlf(octets), frozenset(FLAGS[x] for x in flags), 1_000_000_000 + n))

assert summary(ALICE, "import", at("Maildir"), "--dry-run") == (7, 0, 0)
assert summary(ALICE, "import", at("Maildir")) == (7, 0, 0)
for name, messages in expected.items():
    assert sorted(stored(NET, ALICE, name)) == sorted(messages), name
assert summary(ALICE, "import", at("Maildir")) == (0, 7, 0)
# A message that moves and gets other flags is the same; a new one is new.
moved = next(iter(os.listdir(at("Maildir", "new"))))
os.rename(at("Maildir", "new", moved), at("Maildir", "cur", moved + ":2,FS"))
maildir.add(message("another"))
assert summary(ALICE, "import", at("Maildir")) == (1, 7, 0)

# mbox files as Python writes them, in a folder as Thunderbird keeps them.
os.makedirs(at("Mail", "Work.sbd"))
open(at("Mail", "Work.msf"), "w").write("// an index")
open(at("Mail", "notes"), "w").write("no mail\n")
for path, count in (("Inbox", 3), ("Sent Items", 1), ("Work", 2), ("Work.sbd/Old", 2)):
    box = mailbox.mbox(at("Mail", path), create=True)
    for n in range(count):
        m = mailbox.mboxMessage(message(f"{path} {n}", "Text.\nFrom the start.\n"))
        m.set_from("old@example.org", time.gmtime(1_100_000_000 + n))
        m.set_flags(["RO", "", "ROAF"][n])
        box.add(m)
    box.close()
lines = run(ALICE, "import", at("Mail"), status=1)
assert [(l["what"], "mbox" in l["why"]) for l in lines if l["event"] == "skipped"] == [(at("Mail", "notes"), True)], lines
assert lines[-1]["messages"] == 8, lines
os.remove(at("Mail", "notes"))
assert summary(ALICE, "import", at("Mail")) == (0, 8, 0)
sent = stored(NET, ALICE, "Sent")
text = crlf(message("Sent Items 0", "Text.\nFrom the start.\n"))
assert [s for s in sent if s[0] == text] == [(text, frozenset({"\\Seen"}), 1_100_000_000)], sent
work = stored(NET, ALICE, "Work")
assert [(flags, date) for _, flags, date in work] == [({"\\Seen"}, 1_100_000_000), (set(), 1_100_000_001)], work
assert len(stored(NET, ALICE, "Work/Old")) == 2 and len(stored(NET, ALICE, "INBOX")) == 4 + 1 + 3

# One file, one folder of many, a place of one's own.
assert summary(ALICE, "import", at("Mail", "Inbox"), "--into", "Archive/Old Inbox") == (3, 0, 0)
assert len(stored(NET, ALICE, "Archive/Old Inbox")) == 3
assert summary(ALICE, "import", at("Mail"), "--folder", "Work=Arbeit", "--anew") == (4, 0, 0)
assert len(stored(NET, ALICE, "Arbeit")) == len(stored(NET, ALICE, "Arbeit/Old")) == 2
done = subprocess.run([PROGRAM, "--dir", ALICE["client_dir"], "import", at("Mail"), "--folder", "Play"], capture_output=True, text=True)
assert done.returncode == 1 and "Work/Old" in done.stderr, done

# Dated by its topmost Received field, as after a copy that kept no times of files.
dated = mailbox.Maildir(at("dated"), create=True)
received = b"Received: from a by b;\n\tSat, 01 Jan 2005 01:00:00 +0100\n" + message("dated")
dated.add(received)
assert summary(ALICE, "import", at("dated"), "--into", "Dated", "--received-dates") == (1, 0, 0)
assert [date for _, _, date in stored(NET, ALICE, "Dated")] == [1_104_537_600]

# Out as both, and Python reads what the server has.
names = ["INBOX", "Work", "Work/2024", "Work/Old", "Entw&APw-rfe 1", "Sent", "Archive/Old Inbox", "Arbeit", "Arbeit/Old", "Dated"]
total = sum(len(stored(NET, ALICE, name)) for name in names)
LETTERS = {flag: letter for letter, flag in FLAGS.items() if letter != "a"}
for again in ((total, 0, 0), (0, total, 0)):
    assert summary(ALICE, "export", at("out.maildir")) == again
    assert summary(ALICE, "export", at("out.mbox"), "--format", "mbox") == again
out = mailbox.Maildir(at("out.maildir"), create=False)
assert "Work.2024" in out.list_folders() and "Sent" in out.list_folders(), out.list_folders()
for name in names:
    folder = out if name == "INBOX" else out.get_folder(name.replace("/", "."))
    got = []
    for key in folder.keys():
        with folder.get_file(key) as f:
            got.append((crlf(f.read()), folder.get_message(key).get_flags(), int(folder.get_message(key).get_date())))
    want = []
    for octets, flags, date in stored(NET, ALICE, name):
        letters = [LETTERS[f] for f in flags if f in LETTERS] + (["a"] if "work" in flags else [])
        want.append((octets, "".join(sorted(letters)), date))
    assert sorted(got) == sorted(want), (name, got, want)
    levels = name.replace("&APw-", "ü").split("/")
    box = mailbox.mbox(at("out.mbox", *[l + ".sbd" for l in levels[:-1]], levels[-1]), create=False)
    assert len(box) == len(want), name
    for key, (octets, flags, date) in zip(box.keys(), stored(NET, ALICE, name)):
        raw = re.sub(rb"^>(>*From )", rb"\1", box.get_bytes(key), flags=re.M)
        # Its own three fields stand first.
        fields, raw = raw.split(b"\n", 3)[:3], raw.split(b"\n", 3)[3]
        assert [f.split(b":")[0] for f in fields] == [b"Status", b"X-Status", b"X-Keywords"], fields
        assert crlf(raw) == octets, (name, raw, octets)
        m = box.get_message(key)
        assert ("R" in m.get_flags()) == ("\\Seen" in flags) and ("F" in m.get_flags()) == ("\\Flagged" in flags)
        assert time.mktime(time.strptime(m.get_from().split(" ", 1)[1])) == date, m.get_from()

# What was exported is what is imported, at the other server.
for path, prefix in (("out.maildir", "M"), ("out.mbox", "B")):
    assert summary(BOB, "import", at(path), "--into", prefix) == (total, 0, 0)
    for name in names:
        there = stored(COM, BOB, prefix if name == "INBOX" else f"{prefix}/{name}")
        assert sorted(there) == sorted(stored(NET, ALICE, name)), (path, name)

# From one server to another, by its mailboxes; with a name and with a password that are not told on the command line.
password = at("password")
open(password, "w").write(BOB["app_password"] + "\n")
url = f"imaps://{BOB['address']}@{COM['host']}:{COM['imaps'].rsplit(':', 1)[1]}"
pull = ("import", "--from", url, "--from-password-file", password, "--from-ca-file", CA)
assert summary(ALICE, *pull, "--folder", "M=Pulled", "--folder", "B/Sent=Sent") == (total + len(sent), 0, 0)
for name in names:
    there = stored(NET, ALICE, "Pulled" if name == "INBOX" else f"Pulled/{name}")
    assert there == stored(COM, BOB, "M" if name == "INBOX" else f"M/{name}"), name
assert len(stored(NET, ALICE, "Sent")) == 2 * len(sent)
assert summary(ALICE, *pull, "--folder", "M=Pulled") == (0, total, 0)
# By STARTTLS; a wrong password; a server that is none.
url = f"imap://{BOB['address']}@{COM['host']}:{COM['imap'].rsplit(':', 1)[1]}"
starttls = ("import", "--from", url, "--from-password-file", password, "--from-ca-file", CA)
assert summary(ALICE, *starttls, "--folder", "M/Work=By STARTTLS", "--dry-run")[0] == 6
assert summary(ALICE, *starttls, "--folder", "M/Work=By STARTTLS")[0] == 6
open(password, "w").write("wrong password here\n")
for args, status in ((pull, 6), (starttls, 6), (("import", "--from", url, "--from-password-file", password), 1)):
    done = subprocess.run([PROGRAM, "--dir", ALICE["client_dir"], *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == status and "wrong password" not in done.stderr, done
print("ok")
