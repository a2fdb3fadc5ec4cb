"""Makes the README's pictures from a real run: two servers, a bridge for each of two people, Thunderbird for both in a
virtual display, and a terminal. pictures.py SEALPOST FOLDER, by scripts/pictures.

Alice writes in her Thunderbird, Bob reads in his, neither knows of any key. Beside her letters Bob has a newsletter that
nobody sealed, and a letter in Alice's name that she never wrote.
"""
import contextlib, datetime, email.utils, json, os, smtplib, ssl, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "interop"))
from marionette import Display, Thunderbird, account, ended, until

SEALPOST, FOLDER = sys.argv[1], sys.argv[2]
SIZE = (1100, 700)
SUBJECT = "Grüße aus dem Grünen – the picnic"
LETTER = """Dear Bob,

the picnic is on Saturday at noon, under the big oak. The key to
the gate lies where it always lies; nobody but you and me knows.

Bring the lemonade. I bring the cake.

Alice
"""
# Keywords that the bridge sets, as tags (docs/user.md).
TAGS = {
    "$sealed": ("Sealed", "#2E7D32"),
    "$signed": ("Signed", "#1565C0"),
    "$unconfirmed": ("Sender not confirmed", "#B26A00"),
    "$signaturemissing": ("Signature missing", "#C62828"),
    "$keychanged": ("Key changed", "#C62828"),
    "$withheld": ("Withheld", "#C62828"),
}


class Person:
    def __init__(self, name, described, folder):
        self.name, self.address = name, described["address"]
        self.client, self.folder = described["client_dir"], folder
        self.bridge = subprocess.Popen([SEALPOST, "--dir", self.client, "--json", "bridge"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.settings = json.loads(self.bridge.stdout.readline())
        self.password = self.settings["accounts"][0]["password"]

    def port(self, service):
        return int(self.settings[service].rsplit(":", 1)[1])

    def send(self, to, subject, text):
        """Writes with some other program."""
        context = ssl.create_default_context(cafile=self.settings["ca_file"])
        with smtplib.SMTP_SSL("localhost", self.port("submission"), context=context) as connection:
            connection.login(self.address, self.password)
            connection.sendmail(self.address, [to.address], letter(self, to, subject, text), ["BODY=8BITMIME"])

    def thunderbird(self, display):
        """Set up as docs/user.md tells people."""
        prefs = account(self.name, self.address, "localhost", self.port("imap"), self.port("submission"))
        for keyword, (tag, color) in TAGS.items():
            prefs |= {f"mailnews.tags.{keyword}.tag": tag, f"mailnews.tags.{keyword}.color": color}
        prefs |= {
            "mailnews.headers.extraExpandedHeaders": "Sealpost-Verdict",
            # A table with the list above the message, in a light theme.
            "mail.threadpane.listview": 1,
            "extensions.activeThemeID": "thunderbird-compact-light@mozilla.org",
            "ui.systemUsesDarkTheme": 0,
            "mail.uidensity": 1,
            "mail.startup.enabledMailCheckOnce": True,
            "mail.identity.id1.compose_html": False,
            "mail.compose.default_to_paragraph": False,
            "font.size.monospace.x-western": 15,
            "font.size.monospace.x-unicode": 15,
        }
        program = Thunderbird(display, os.path.join(self.folder, f"{self.name}.thunderbird"), prefs)
        program.trust(self.settings["ca_file"])
        for scheme in ("imap", "smtp"):
            program.remember(f"{scheme}://localhost", self.address, self.password)
        program.run("window.moveTo(0, 0); window.resizeTo(arguments[0], arguments[1]); return true;", *SIZE)
        return program


def letter(sender, to, subject, text):
    date = email.utils.format_datetime(datetime.datetime.now(datetime.timezone.utc))
    return (
        f"From: {sender.name} <{sender.address}>\r\nTo: {to.name} <{to.address}>\r\nDate: {date}\r\n"
        f"Message-ID: {email.utils.make_msgid(domain=sender.address.split('@')[1])}\r\nSubject: {subject}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + text.replace("\n", "\r\n")
    ).encode()


class Stranger:
    """Whoever writes to Bob's server without Sealpost."""

    def __init__(self, name, address):
        self.name, self.address = name, address

    def send(self, server, to, subject, text):
        host, port = server["smtp"].rsplit(":", 1)
        with smtplib.SMTP(host, int(port)) as connection:
            connection.sendmail(self.address, [to.address], letter(self, to, subject, text), ["BODY=8BITMIME"])


def write(alice, to, display, path):
    """Alice writes in Thunderbird: the picture is taken before she presses Send."""
    with alice.thunderbird(display) as program:
        program.open("Inbox")
        program.compose(f"{to.name} <{to.address}>", SUBJECT, LETTER)
        program.run(
            """
            compose.moveTo(0, 0);
            compose.resizeTo(arguments[0], 420);
            // PGP and S/MIME have no part in this.
            compose.document.getElementById("button-encryption").hidden = true;
            return true;
            """,
            *SIZE,
        )
        picture(display, path, 420)
        program.run("compose.goDoCommand('cmd_sendNow'); return true;")
        until("the end of sending", lambda: program.run("return !compose;"))


def read(bob, display, path, count):
    """Bob reads it in his."""
    with bob.thunderbird(display) as program:
        program.open("Inbox")
        until("mail", lambda: SUBJECT in program.listed() and len(program.listed()) == count)
        program.select(SUBJECT)
        until("the letter", lambda: "lemonade" in program.text())
        # As by the menu over the list, and by drawing the line between list and message.
        program.run(
            """
            window.gSpacesToolbar.toggleToolbar(true);
            window.document.getElementById("status-bar").hidden = true;
            pane.document.getElementById("messagePaneSplitter").height = 400;
            pane.document.getElementById("folderPaneSplitter").width = 190;
            const columns = ["subjectCol", "correspondentCol", "tagsCol", "dateCol"];
            const states = Object.fromEntries(columns.map((id, ordinal) => [id, { visible: true, ordinal }]));
            pane.threadPane.applyPersistedColumnsState(states);
            pane.threadPane.persistColumnStates();
            pane.threadPane.updateColumns();
            pane.threadTree.reset();
            for (const [column, width] of [["subjectCol", 330], ["correspondentCol", 250], ["tagsCol", 150]]) {
              pane.document.getElementById(column).style.setProperty(`--${column}Splitter-width`, `${width}px`);
            }
            return true;
            """
        )
        picture(display, path)


def terminal(bob, display, path):
    """The same mailbox in a terminal."""
    commands = "\n".join(f"printf '$ %s\\n' {quoted!r}; {quoted}; echo" for quoted in ("sealpost list", "sealpost read last"))
    environment = os.environ | {
        "DISPLAY": display.name,
        "PATH": os.path.dirname(os.path.abspath(SEALPOST)) + ":" + os.environ["PATH"],
        "SEALPOST_DIR": bob.client,
        "PAGER": "cat",
    }
    look = ["-fa", "DejaVu Sans Mono", "-fs", "10", "-bg", "white", "-fg", "black", "-b", "10", "+sb"]
    look += ["-bw", "0", "-geometry", "135x25+0+0"]
    xterm = subprocess.Popen(["xterm", *look, "-e", "bash", "-c", commands + "\nsleep 1000"], env=environment)
    try:
        picture(display, path, 440)
    finally:
        ended(xterm)


def picture(display, path, height=SIZE[1]):
    """Of the upper part of the screen."""
    # Fonts, scroll bars and spinners come to rest.
    time.sleep(4)
    subprocess.run(
        ["import", "-display", display.name, "-window", "root", "-crop", f"{SIZE[0]}x{height}+0+0", "+repage",
         "-strip", "+dither", "-colors", "255", "-define", "png:compression-level=9", "PNG8:" + path],
        check=True,
    )


def main():
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sealpost-pictures-"))
        home = os.path.join(folder, "demo")
        demo = subprocess.Popen([SEALPOST, "demo", "--keep", "--dir", home], stdout=subprocess.DEVNULL)
        stack.callback(ended, demo)
        described = os.path.join(home, "demo.json")
        until("the servers", lambda: os.path.exists(described))
        world = json.load(open(described))
        people = []
        for name, user in zip(("Alice", "Bob"), world["users"]):
            people.append(Person(name, user, folder))
            stack.callback(ended, people[-1].bridge)
        alice, bob = people
        bob.send(alice, "Saturday?", "Dear Alice,\n\nwhere do we meet, and when?\n\nBob\n")
        alice.send(bob, "Re: Saturday?", "Dear Bob,\n\nI shall look for a place with shade.\n\nAlice\n")
        Stranger("The Oak Weekly", "news@example.org").send(
            world["servers"][1], bob, "This week: acorns", "Acorns everywhere.\n")
        Stranger("Alice", "alice@example.net").send(
            world["servers"][1], bob, "Please pay this at once", "Dear Bob,\n\nplease pay.\n")
        display = stack.enter_context(Display("x".join(map(str, SIZE))))
        write(alice, bob, display, os.path.join(FOLDER, "write.png"))
        read(bob, display, os.path.join(FOLDER, "read.png"), 4)
        terminal(bob, display, os.path.join(FOLDER, "terminal.png"))


main()
