"""Thunderbird in a virtual display: thunderbird.py HOST PORT CA USER PROFILE SUBJECT..., the password in PASSWORD.

Opens INBOX as a person does by clicking, waits until the list shows these subjects, reads the first message and deletes
the last. Says what it sees as one JSON object.
"""
import json, os, sys

from marionette import Display, Thunderbird, account, until

HOST, PORT, CA, USER, PROFILE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
SUBJECTS = sys.argv[6:]


def drive(thunderbird):
    thunderbird.trust(CA)
    thunderbird.remember(f"imap://{HOST}", USER, os.environ["PASSWORD"])
    thunderbird.open("Inbox")
    seen = thunderbird.list_of(SUBJECTS)
    thunderbird.select(SUBJECTS[0])
    text = until("the text of the message", thunderbird.text)
    folders = thunderbird.run("return server.rootFolder.descendants.map(folder => [folder.URI, folder.flags]);")
    # Its own way to delete is a move to Trash; done when the list no longer shows it.
    thunderbird.select(SUBJECTS[-1])
    thunderbird.run("pane.commandController.doCommand('cmd_delete'); return true;")
    until("the removal", lambda: SUBJECTS[-1] not in thunderbird.listed())
    # Clicked away, and no command of its own is left.
    until("rest", lambda: thunderbird.run(
        """
        const trash = folder("Trash");
        pane.displayFolder(trash.URI);
        return pane.gDBView && pane.gDBView.msgFolder == trash && pane.gDBView.rowCount == 1;
        """
    ))
    print(json.dumps({"listed": seen, "text": text, "folders": folders}), flush=True)


with Display() as display, Thunderbird(display, PROFILE, account("Alice", USER, HOST, PORT)) as program:
    drive(program)
