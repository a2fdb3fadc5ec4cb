"""Thunderbird, set up with a bridge: thunderbird_bridge.py HOST IMAP SUBMISSION CA USER PROFILE COUNT TO REFUSED, the
password in PASSWORD.

Shows INBOX until it has COUNT messages, opens one, and keeps all of them for offline use, as its box for that does. Saves
a draft, sends a message to TO, and tries to send one to REFUSED. Says what it sees as one JSON object.
"""
import json, os, sys

from marionette import Display, Thunderbird, account, until

HOST, IMAP, SUBMISSION, CA, USER, PROFILE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:7]
COUNT, TO, REFUSED = int(sys.argv[7]), sys.argv[8], sys.argv[9]
SUBJECT = "Größe 7 – from Thunderbird"
TEXT = "Dear Bob,\n\nthe answer is größer, topic99.\n.\nFrom here on\n"


def write(program, to, subject, command):
    program.compose(to, subject, TEXT)
    program.run("compose.setTimeout(() => compose.goDoCommand(arguments[0]), 0); return true;", command)


def complaint(program):
    """What a dialog says."""
    return program.run(
        """
        for (const one of Services.wm.getEnumerator("")) {
          if (one.location.href.endsWith("commonDialog.xhtml")) {
            return one.document.getElementById("infoBody")?.textContent;
          }
        }
        return null;
        """
    )


def drive(program):
    program.trust(CA)
    for scheme in ("imap", "smtp"):
        program.remember(f"{scheme}://{HOST}", USER, os.environ["PASSWORD"])
    program.open("Inbox")
    until("all messages", lambda: len(program.listed()) == COUNT)
    program.select("message 3")
    text = until("the text of the message", program.text)
    program.run(
        """
        window.kept = null;
        const listener = { OnStartRunningUrl() {}, OnStopRunningUrl(url, status) { window.kept = status; } };
        folder("Inbox").downloadAllForOffline(listener, window.msgWindow);
        return true;
        """
    )
    until("all messages for offline use", lambda: program.run("return window.kept === 0;"))
    rows = program.run(
        """
        return [...folder("Inbox").messages].map(header => ({
          id: header.messageId,
          subject: header.mime2DecodedSubject,
          author: header.mime2DecodedAuthor,
          tags: header.getStringProperty("keywords").split(" "),
        }));
        """
    )
    store = program.run("return folder('Inbox').filePath.path;")
    write(program, TO, "half a thought", "cmd_saveAsDraft")
    until("the draft", lambda: program.run("return compose?.gSaveOperationInProgress === false && folder('Drafts')?.getTotalMessages(false) == 1;"))
    program.run("compose.close(); return true;")
    until("the end of writing", lambda: program.run("return !compose;"))
    write(program, TO, SUBJECT, "cmd_sendNow")
    until("the end of sending", lambda: program.run("return !compose;"))
    write(program, REFUSED, "x", "cmd_sendNow")
    refusal = until("the refusal", lambda: complaint(program))
    print(json.dumps({"text": text, "rows": rows, "store": store, "refusal": refusal}), flush=True)


with Display() as display:
    prefs = account("Alice", USER, HOST, IMAP, SUBMISSION) | {"mail.identity.id1.compose_html": False}
    with Thunderbird(display, PROFILE, prefs) as thunderbird:
        drive(thunderbird)
