"""What Evolution's mail library needs to talk to a server: `connect`. CAMEL_DEBUG=imapx:io writes what is said, to
standard output."""
import os, tempfile

import gi

gi.require_version("Camel", "1.2")
from gi.repository import Camel, Gio, GLib

# How long something may take that should take a moment, in seconds.
PATIENCE = 60


class Session(Camel.Session):
    """One account, whose authority is a file."""

    place = None

    def do_get_password(self, service, prompt, item, flags):
        return os.environ["PASSWORD"]

    def do_authenticate_sync(self, service, mechanism, cancellable):
        service.set_password(os.environ["PASSWORD"])
        return service.authenticate_sync(mechanism, cancellable) == Camel.AuthenticationResult.ACCEPTED

    def do_trust_prompt(self, service, certificate, errors):
        # The authority is the test's own: it must have signed this certificate, for this name.
        host, port, ca = self.place
        wrong = certificate.verify(Gio.NetworkAddress.new(host, port), Gio.TlsCertificate.new_from_file(ca))
        return Camel.CertTrust.NEVER if wrong else Camel.CertTrust.TEMPORARY


def connect(host, port, ca, user, **more):
    """A store, connected."""
    home = tempfile.mkdtemp(dir=os.environ["HOME"])
    Camel.init(home, True)
    Camel.Provider.init()
    session = Session(user_data_dir=os.path.join(home, "data"), user_cache_dir=os.path.join(home, "cache"))
    session.place = (host, port, ca)
    session.set_online(True)
    store = session.add_service("alice", "imapx", Camel.ProviderType.STORE)
    settings = store.ref_settings()
    for name, value in {
        "host": host,
        "port": port,
        "user": user,
        "auth-mechanism": "PLAIN",
        "security-method": Camel.NetworkSecurityMethod.SSL_ON_ALTERNATE_PORT,
        "check-all": True,
        **more,
    }.items():
        settings.set_property(name, value)
    assert store.set_online_sync(True, None) and store.connect_sync(None)
    # Who holds the store holds its session.
    store.kept = session
    return store


def until(what, wanted, heard=lambda: ""):
    """Lets Camel work until `wanted` holds."""
    context = GLib.MainContext.default()
    deadline = GLib.get_monotonic_time() + PATIENCE * 1_000_000
    tick = GLib.timeout_add(20, lambda: True)
    while not wanted():
        assert GLib.get_monotonic_time() < deadline, f"Camel did not hear of it: {what}\n{heard()}"
        context.iteration(True)
    GLib.source_remove(tick)
