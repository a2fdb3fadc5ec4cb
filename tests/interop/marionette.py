"""Thunderbird in a virtual display, driven over Marionette, its own remote control. What it does to servers is its own
doing: it is told what a person tells it, by clicks and settings."""
import json, os, socket, subprocess, sys, time

# For everything.
END = time.monotonic() + float(os.environ.get("PATIENCE", 240))

# No guesses, no questions, no news from elsewhere.
QUIET = {
    "mail.provider.enabled": False,
    "mail.rights.version": 1,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mailnews.start_page.enabled": False,
    "mailnews.mark_message_read.auto": True,
    "mailnews.mark_message_read.delay": False,
    "mail.pane_config.dynamic": 0,
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "marionette.port": 0,
}


def account(name, user, host, imap, submission=None):
    """Settings of an account: TLS from the beginning, a password in clear inside it."""
    prefs = {
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server2",
        "mail.account.account1.identities": "id1",
        "mail.account.account1.server": "server1",
        "mail.account.account2.server": "server2",
        "mail.identity.id1.fullName": name,
        "mail.identity.id1.useremail": user,
        "mail.identity.id1.valid": True,
        "mail.server.server1.type": "imap",
        "mail.server.server1.hostname": host,
        "mail.server.server1.port": imap,
        "mail.server.server1.userName": user,
        "mail.server.server1.name": user,
        "mail.server.server1.socketType": 3,
        "mail.server.server1.authMethod": 3,
        # Not before it has the password.
        "mail.server.server1.login_at_startup": False,
        "mail.server.server1.check_new_mail": False,
        "mail.server.server2.type": "none",
        "mail.server.server2.hostname": "Local Folders",
        "mail.server.server2.userName": "nobody",
        "mail.server.server2.name": "Local Folders",
    }
    if submission:
        prefs |= {
            "mail.smtpservers": "smtp1",
            "mail.smtp.defaultserver": "smtp1",
            "mail.identity.id1.smtpServer": "smtp1",
            "mail.smtpserver.smtp1.type": "smtp",
            "mail.smtpserver.smtp1.hostname": host,
            "mail.smtpserver.smtp1.port": submission,
            "mail.smtpserver.smtp1.username": user,
            "mail.smtpserver.smtp1.try_ssl": 3,
            "mail.smtpserver.smtp1.authMethod": 3,
        }
    return prefs


def until(what, get):
    while True:
        value = get()
        if value:
            return value
        if time.monotonic() > END:
            raise SystemExit(f"{what} did not happen in time")
        time.sleep(0.1)


def ended(process):
    process.terminate()
    process.wait(30)


class Display:
    """A virtual one."""

    def __init__(self, size="1280x1024"):
        reader, writer = os.pipe()
        # Without -noreset it takes nobody in for a moment after the last program has gone. It ends if nobody reads the
        # whole line of its number.
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[writer], stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        with os.fdopen(reader) as line:
            number = line.readline().strip()
        if not number:
            raise SystemExit("Xvfb did not start")
        self.name = f":{number}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended(self.process)

    def picture(self, path):
        subprocess.run(["import", "-display", self.name, "-window", "root", path], check=True)


class Marionette:
    """Messages are LENGTH:JSON; a command is [0, id, name, parameters], its answer [1, id, error, result]."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.buffer, self.id = b"", 0
        self.read()
        self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"unhandledPromptBehavior": "ignore"}}})
        self.call("Marionette:SetContext", {"value": "chrome"})

    def read(self):
        while b":" not in self.buffer:
            self.more()
        length, self.buffer = self.buffer.split(b":", 1)
        while len(self.buffer) < int(length):
            self.more()
        message, self.buffer = self.buffer[: int(length)], self.buffer[int(length):]
        return json.loads(message)

    def more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise SystemExit("Thunderbird ended")
        self.buffer += octets

    def call(self, name, parameters):
        self.id += 1
        message = json.dumps([0, self.id, name, parameters]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self.read()
        if error:
            raise SystemExit(f"{name}: {error}")
        return result


PRELUDE = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const window = Services.wm.getMostRecentWindow("mail:3pane");
const pane = window?.document.getElementById("tabmail")?.currentAbout3Pane;
const server = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap")?.incomingServer;
const folder = name => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags[name]);
const compose = Services.wm.getMostRecentWindow("msgcompose");
"""


class Thunderbird:
    """A running one, with a profile of its own."""

    def __init__(self, display, profile, prefs):
        self.display = display
        os.makedirs(profile, exist_ok=True)
        with open(os.path.join(profile, "user.js"), "w") as file:
            for name, value in (QUIET | prefs).items():
                file.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        environment = os.environ | {
            "DISPLAY": display.name,
            "MOZ_CRASHREPORTER_DISABLE": "1",
            "GDK_BACKEND": "x11",
        }
        self.process = subprocess.Popen(
            ["thunderbird", "--profile", profile, "--no-remote", "--marionette", "--remote-allow-system-access"],
            env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr,
        )
        try:
            active = os.path.join(profile, "MarionetteActivePort")
            port = until("Thunderbird's remote control",
                         lambda: os.path.exists(active) and open(active).read().strip())
            self.marionette = Marionette(int(port))
            until("the main window", lambda: self.run("return !!pane?.threadTree && !!pane?.folderTree;"))
        except BaseException:
            ended(self.process)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # For whoever looks for a fault: where to put a picture of the screen (imagemagick).
        if os.environ.get("SHOT"):
            self.display.picture(os.environ["SHOT"])
        ended(self.process)

    def run(self, script, *args):
        """Runs a script in it, behind PRELUDE; what it returns, or what the promise that it returns becomes."""
        parameters = {"script": PRELUDE + script, "args": list(args)}
        return self.marionette.call("WebDriver:ExecuteScript", parameters)["value"]

    def trust(self, path):
        """Takes an authority's certificate, as by Settings, Manage Certificates, Import."""
        certificate = "".join(line for line in open(path).read().splitlines() if "-----" not in line)
        self.run(
            """
            Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
              .addCertFromBase64(arguments[0], "C,,");
            return true;
            """,
            certificate,
        )

    def remember(self, place, user, password):
        """Keeps a password, as by the box in its question."""
        self.run(
            """
            const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            login.init(arguments[0], null, arguments[0], arguments[1], arguments[2], "", "");
            return Services.logins.addLoginAsync(login).then(() => true);
            """,
            place, user, password,
        )

    def open(self, name):
        """Shows a folder by its use (Inbox, Trash, …), as by a click; signs in where that is still to be done."""
        self.run("server.performExpand(window.msgWindow); return true;")
        until(f"{name} among the folders", lambda: self.run(
            """
            if (!folder(arguments[0])) { return false; }
            pane.displayFolder(folder(arguments[0]).URI);
            return true;
            """,
            name,
        ))

    def listed(self):
        """Subjects in the list of messages, from the top."""
        return self.run(
            """
            const view = pane.gDBView;
            const rows = [];
            for (let at = 0; view && at < view.rowCount; at++) { rows.push(view.getMsgHdrAt(at).mime2DecodedSubject); }
            return rows;
            """
        )

    def list_of(self, subjects):
        """Waits until the list shows these, in whatever order; the list."""
        return until("the list of messages",
                     lambda: [rows for rows in [self.listed()] if sorted(rows) == sorted(subjects)])[0]

    def select(self, subject):
        self.run("pane.threadTree.selectedIndex = arguments[0]; return true;", self.listed().index(subject))

    def compose(self, to, subject, text):
        """Opens a window to write in, with this written, and waits for it."""
        self.run(
            """
            const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
            [fields.to, fields.subject, fields.body] = arguments;
            const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
            params.type = Ci.nsIMsgCompType.New;
            params.format = Ci.nsIMsgCompFormat.PlainText;
            params.composeFields = fields;
            MailServices.compose.OpenComposeWindowWithParams(null, params);
            return true;
            """,
            to, subject, text,
        )
        until("the window to write in", lambda: self.run("return !!compose?.gMsgCompose?.editor;"))

    def text(self):
        """The text of the message that is shown; empty while there is none."""
        return self.run(
            """
            const shown = pane.messageBrowser?.contentDocument?.getElementById("messagepane");
            return shown?.contentDocument?.body?.textContent ?? "";
            """
        )
