"""Thunderbird sets up an account: thunderbird_setup.py PROGRAM CA USER PROFILE, the password in PASSWORD.

It looks for settings in the folder "isp" of PROGRAM, which it takes for the folder of its own program, as its account
setup does first of all; it tries them by signing in, and makes the account. Says what it found as one JSON object.
"""
import json, os, sys

from marionette import Display, Thunderbird

PROGRAM, CA, USER, PROFILE = sys.argv[1:5]
# As after its first start: no account but the one that every profile has.
NOBODY = {
    "mail.accountmanager.accounts": "account2",
    "mail.accountmanager.localfoldersserver": "server2",
    "mail.account.account2.server": "server2",
    "mail.server.server2.type": "none",
    "mail.server.server2.hostname": "Local Folders",
    "mail.server.server2.userName": "nobody",
    "mail.server.server2.name": "Local Folders",
}

with Display() as display, Thunderbird(display, PROFILE, NOBODY) as thunderbird:
    thunderbird.trust(CA)
    found = thunderbird.run(
        """
        const from = name => ChromeUtils.importESModule(`resource:///modules/accountcreation/${name}.sys.mjs`)[name];
        const [FetchConfig, AccountConfig, ConfigVerifier, CreateInBackend] =
            ["FetchConfig", "AccountConfig", "ConfigVerifier", "CreateInBackend"].map(from);
        const folders = Services.dirsvc.QueryInterface(Ci.nsIProperties);
        const program = folders.get("CurProcD", Ci.nsIFile).clone();
        program.initWithPath(arguments[0]);
        folders.undefine("CurProcD");
        folders.set("CurProcD", program);
        const signal = new AbortController().signal;
        return (async () => {
            const config = await FetchConfig.fromDisk(arguments[1].split("@")[1], signal);
            AccountConfig.replaceVariables(config, "Alice", arguments[1], arguments[2]);
            const verified = await new ConfigVerifier(window.msgWindow, signal).verifyConfig(config);
            await CreateInBackend.createAccountInBackend(config);
            const made = MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap").incomingServer;
            const of = side => [side.type, side.hostname, side.port, side.username];
            return {
                incoming: of(config.incoming),
                outgoing: of(config.outgoing),
                verified: !!verified && made.port == config.incoming.port,
            };
        })();
        """,
        PROGRAM, USER, os.environ["PASSWORD"],
    )
    print(json.dumps(found), flush=True)
