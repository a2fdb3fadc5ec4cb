"""Thunderbird in a virtual display: thunderbird.py HOST PORT CA USER PROFILE SUBJECT..., the password in PASSWORD.

Opens INBOX as a person does by clicking, waits until the list shows these subjects, reads the first message and deletes
the last. Says what it sees as one JSON object. Thunderbird is driven over Marionette, its own remote control; what it
does to the server is its own doing.
"""
import base64, json, os, socket, subprocess, sys, time

HOST, PORT, CA, USER, PROFILE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
SUBJECTS = sys.argv[6:]
# For everything.
END = time.monotonic() + 240

PREFS = {
    "mail.accountmanager.accounts": "account1,account2",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.accountmanager.localfoldersserver": "server2",
    "mail.account.account1.identities": "id1",
    "mail.account.account1.server": "server1",
    "mail.account.account2.server": "server2",
    "mail.identity.id1.fullName": "Alice",
    "mail.identity.id1.useremail": USER,
    "mail.identity.id1.valid": True,
    "mail.server.server1.type": "imap",
    "mail.server.server1.hostname": HOST,
    "mail.server.server1.port": PORT,
    "mail.server.server1.userName": USER,
    "mail.server.server1.name": USER,
    # TLS from the beginning, a password in clear inside it.
    "mail.server.server1.socketType": 3,
    "mail.server.server1.authMethod": 3,
    # Not before it has the password.
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": False,
    "mail.server.server2.type": "none",
    "mail.server.server2.hostname": "Local Folders",
    "mail.server.server2.userName": "nobody",
    "mail.server.server2.name": "Local Folders",
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


def until(what, get):
    while True:
        value = get()
        if value:
            return value
        if time.monotonic() > END:
            raise SystemExit(f"{what} did not happen in time")
        time.sleep(0.1)


class Marionette:
    """Messages are LENGTH:JSON; a command is [0, id, name, parameters], its answer [1, id, error, result]."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.buffer, self.id = b"", 0
        self.read()
        self.call("WebDriver:NewSession", {})
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

    def run(self, script, *args):
        return self.call("WebDriver:ExecuteScript", {"script": PRELUDE + script, "args": list(args)})["value"]


PRELUDE = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const window = Services.wm.getMostRecentWindow("mail:3pane");
const pane = window?.document.getElementById("tabmail")?.currentAbout3Pane;
"""


def drive(thunderbird):
    until("the main window", lambda: thunderbird.run("return !!pane?.threadTree && !!pane?.folderTree;"))
    certificate = "".join(line for line in open(CA).read().splitlines() if "-----" not in line)
    thunderbird.run(
        """
        Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(arguments[0], "C,,");
        const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
        const place = "imap://" + arguments[1];
        login.init(place, null, place, arguments[2], arguments[3], "", "");
        return Services.logins.addLoginAsync(login).then(() => true);
        """,
        certificate, HOST, USER, os.environ["PASSWORD"],
    )
    # As by a click on the account's INBOX.
    thunderbird.run(
        """
        const server = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap").incomingServer;
        server.performExpand(window.msgWindow);
        return true;
        """
    )
    until("INBOX among the folders", lambda: thunderbird.run(
        """
        const server = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap").incomingServer;
        const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
        if (!inbox) { return false; }
        pane.displayFolder(inbox.URI);
        return true;
        """
    ))
    listed = """
        const view = pane.gDBView;
        const rows = [];
        for (let at = 0; view && at < view.rowCount; at++) { rows.push(view.getMsgHdrAt(at).mime2DecodedSubject); }
        return rows;
        """
    seen = until("the list of messages", lambda: [
        rows for rows in [thunderbird.run(listed)] if sorted(rows) == sorted(SUBJECTS)
    ])[0]
    thunderbird.run("pane.threadTree.selectedIndex = arguments[0]; return true;", seen.index(SUBJECTS[0]))
    text = until("the text of the message", lambda: thunderbird.run(
        """
        const shown = pane.messageBrowser?.contentDocument?.getElementById("messagepane");
        return shown?.contentDocument?.body?.textContent ?? "";
        """
    ))
    folders = thunderbird.run(
        """
        const server = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap").incomingServer;
        return server.rootFolder.descendants.map(folder => [folder.URI, folder.flags]);
        """
    )
    # Its own way to delete is a move to Trash; done when the list no longer shows it.
    thunderbird.run(
        "pane.threadTree.selectedIndex = arguments[0]; pane.commandController.doCommand('cmd_delete'); return true;",
        seen.index(SUBJECTS[-1]),
    )
    until("the removal", lambda: SUBJECTS[-1] not in thunderbird.run(listed))
    # Clicked away, and no command of its own is left.
    until("rest", lambda: thunderbird.run(
        """
        const server = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap").incomingServer;
        const trash = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
        pane.displayFolder(trash.URI);
        return pane.gDBView && pane.gDBView.msgFolder == trash && pane.gDBView.rowCount == 1;
        """
    ))
    print(json.dumps({"listed": seen, "text": text, "folders": folders}), flush=True)


def main():
    os.makedirs(PROFILE, exist_ok=True)
    with open(os.path.join(PROFILE, "user.js"), "w") as prefs:
        for name, value in PREFS.items():
            prefs.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
    reader, writer = os.pipe()
    display = subprocess.Popen(["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
                               pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    number = os.read(reader, 16).decode().strip()
    if not number:
        raise SystemExit("Xvfb did not start")
    environment = os.environ | {"DISPLAY": f":{number}", "MOZ_CRASHREPORTER_DISABLE": "1", "GDK_BACKEND": "x11"}
    thunderbird = subprocess.Popen(
        ["thunderbird", "--profile", PROFILE, "--no-remote", "--marionette", "--remote-allow-system-access"],
        env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr,
    )
    try:
        active = os.path.join(PROFILE, "MarionetteActivePort")
        port = until("Thunderbird's remote control", lambda: os.path.exists(active) and open(active).read().strip())
        drive(Marionette(int(port)))
    finally:
        # For whoever looks for a fault: where to put a picture of the screen (imagemagick).
        if os.environ.get("SHOT"):
            subprocess.run(["import", "-display", f":{number}", "-window", "root", os.environ["SHOT"]])
        for process in (thunderbird, display):
            process.terminate()
            process.wait(30)


main()
