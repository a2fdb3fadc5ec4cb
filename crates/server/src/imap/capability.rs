//! The capabilities of this server, in one table: what CAPABILITY, the greeting and the OK of a login list, and what
//! `docs/imap.md` is made from.
//!
//! A row is added with what it names, never before: its tests are read by another session, and a test of the table
//! fails where one of them does not exist.

use std::fmt::Write as _;

/// One capability.
pub struct Capability {
    /// As advertised; where [`Value`] adds something, what stands before it.
    pub name: &'static str,
    /// What follows the name.
    pub value: Value,
    /// Where it is written down.
    pub rfc: &'static str,
    /// What it gives, in a few words.
    pub about: &'static str,
    /// When it is advertised.
    pub shown: Shown,
    /// Tests (`module::name`, below `crates/server/tests/it` or `tests/it`) and dialogues (below
    /// `crates/server/tests`) that show it.
    pub tests: &'static [&'static str],
}

/// What follows a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    None,
    /// The size of the largest message, in octets.
    MessageSize,
}

/// When a capability is advertised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Always.
    Always,
    /// Until TLS begins.
    BeforeTls,
    /// In TLS, until the session is signed in.
    BeforeLogin,
    /// As before, where the TLS connection can be bound to (TLS 1.3, or a certificate with a hash).
    BeforeLoginBound,
    /// To sessions that are signed in.
    SignedIn,
}

impl Shown {
    /// In words, for the document.
    pub fn words(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::BeforeTls => "before TLS",
            Self::BeforeLogin => "in TLS, before login",
            Self::BeforeLoginBound => "in TLS 1.3, before login",
            Self::SignedIn => "after login",
        }
    }
}

/// The moment at which capabilities are asked for.
#[derive(Clone, Copy)]
pub struct Moment {
    /// TLS is on.
    pub tls: bool,
    /// SCRAM can be bound to the connection.
    pub can_bind: bool,
    /// The session is signed in.
    pub signed_in: bool,
    /// Octets of the largest message taken.
    pub message_size: u64,
}

impl Moment {
    fn shows(self, shown: Shown) -> bool {
        match shown {
            Shown::Always => true,
            Shown::BeforeTls => !self.tls && !self.signed_in,
            Shown::BeforeLogin => self.tls && !self.signed_in,
            Shown::BeforeLoginBound => self.tls && self.can_bind && !self.signed_in,
            Shown::SignedIn => self.signed_in,
        }
    }
}

/// What is advertised at a moment, separated by spaces.
pub fn list(moment: Moment) -> String {
    let mut all = String::new();
    for row in TABLE.iter().filter(|row| moment.shows(row.shown)) {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(row.name);
        if row.value == Value::MessageSize {
            let _ = write!(all, "{}", moment.message_size);
        }
    }
    all
}

const fn row(
    name: &'static str,
    rfc: &'static str,
    about: &'static str,
    shown: Shown,
    tests: &'static [&'static str],
) -> Capability {
    Capability { name, value: Value::None, rfc, about, shown, tests }
}

use Shown::{Always, BeforeLogin, BeforeLoginBound, BeforeTls, SignedIn};

/// Every capability: the revision of IMAP, then what belongs to login, then the extensions by name.
#[rustfmt::skip] // a row reads from left to right
pub const TABLE: &[Capability] = &[
    row("IMAP4rev1", "RFC 3501", "the protocol", Always,
        &["dialogues/imap/read.txt", "imap::folders::hierarchy_modified_utf7_and_rename"]),
    row("IMAP4rev2", "RFC 9051", "the protocol, newer; ENABLE IMAP4rev2 turns its replies on", Always,
        &["dialogues/imap/rev2.txt"]),
    row("STARTTLS", "RFC 3501 §6.2.1", "TLS on port 143; what was pipelined behind it is thrown away", BeforeTls,
        &["imap::login::starttls_throws_away_what_was_pipelined"]),
    row("LOGINDISABLED", "RFC 3501 §7.2.1", "nobody signs in without TLS", BeforeTls,
        &["imap::login::r02_hashedpass_is_neither_offered_nor_taken_without_tls"]),
    row("AUTH=HASHEDPASS", "draft-korenenovak-smtp-e2eesign-00", "a hash of the main password", BeforeLogin,
        &["imap::login::r15_hashedpass_in_one_step_and_nothing_follows_the_ok",
          "imap::login::r15_hashedpass_in_two_steps_without_initial_response"]),
    row("AUTH=SCRAM-SHA-256-PLUS", "RFC 7677, RFC 5802, RFC 9266", "app passwords, proved and bound to the TLS connection", BeforeLoginBound,
        &["imap::scram::r15_scram_and_plus_with_a_client_of_their_own",
          "imap::scram::a_binding_to_another_connection_and_a_downgrade_are_refused"]),
    row("AUTH=SCRAM-SHA-256", "RFC 7677, RFC 5802", "app passwords, proved and not sent", BeforeLogin,
        &["dialogues/imap/scram.txt", "imap::scram::r15_scram_and_plus_with_a_client_of_their_own",
          "imap::scram::refusals_are_alike_for_known_unknown_and_older_app_passwords"]),
    row("AUTH=PLAIN", "RFC 4616", "app passwords", BeforeLogin,
        &["imap::login::plain_and_login_take_app_passwords"]),
    row("AUTH=LOGIN", "draft-murchison-sasl-login-00", "app passwords, for older programs", BeforeLogin,
        &["imap::login::plain_and_login_take_app_passwords"]),
    Capability {
        name: "APPENDLIMIT=", value: Value::MessageSize, rfc: "RFC 7889",
        about: "the size of the largest message, in octets", shown: Always,
        tests: &["dialogues/imap/special-use.txt", "imap::append::refusals_come_before_the_octets_and_the_session_goes_on"],
    },
    row("BINARY", "RFC 3516", "parts without their transfer encoding, and messages with NUL", Always,
        &["dialogues/imap/binary.txt", "imap::binary::parts_of_any_size_are_decoded"]),
    row("CHILDREN", "RFC 3348", "whether a mailbox has others below it", Always,
        &["imap::folders::hierarchy_modified_utf7_and_rename"]),
    row("CONDSTORE", "RFC 7162 §3.1", "MODSEQs: what changed since, and changes that give way to others", Always,
        &["dialogues/imap/condstore.txt", "imap::condstore::modseqs_ascend_and_are_the_same_for_all_sessions",
          "imap::condstore::a_guarded_store_leaves_changed_messages_alone",
          "imap::condstore::search_by_modseq_tells_the_highest", "imap::condstore::what_turns_modseqs_on"]),
    row("COMPRESS=DEFLATE", "RFC 4978", "both directions compressed; 43 KiB more for a session", SignedIn,
        &["imap::compress::what_is_stored_compressed_another_session_reads_in_the_clear",
          "imap::compress::refusals_and_what_is_pipelined_before_and_behind",
          "imap::compress::a_bomb_meets_the_limits_of_commands"]),
    row("CREATE-SPECIAL-USE", "RFC 6154 §3", "CREATE says what a mailbox is for", Always,
        &["dialogues/imap/special-use.txt", "imap::folders::a_use_belongs_to_one_mailbox"]),
    row("ENABLE", "RFC 5161", "extensions that change replies are turned on by name", Always,
        &["dialogues/imap/read.txt"]),
    row("ESORT", "RFC 5267", "results of SORT in short forms", Always,
        &["dialogues/imap/sort.txt", "imap::sort::esort_and_saved_results"]),
    row("ESEARCH", "RFC 4731", "results of SEARCH in short forms", Always,
        &["imap::search::esearch_and_saved_results"]),
    row("I18NLEVEL=1", "RFC 5255 §4", "SEARCH, SORT and THREAD compare by i;unicode-casemap (RFC 5051)", Always,
        &["imap::i18n::search_finds_text_in_any_case_and_composition", "imap::i18n::sort_and_thread_compare_alike"]),
    row("ID", "RFC 2971", "what program is at the other end; the version is not told", Always,
        &["dialogues/imap/read.txt"]),
    row("IDLE", "RFC 2177", "changes are told as they happen", Always, &["imap::updates::idle_wakes"]),
    row("LIST-EXTENDED", "RFC 5258", "LIST with options and several patterns", Always,
        &["imap::folders::default_mailboxes_with_special_use", "imap::folders::subscriptions"]),
    row("LIST-METADATA", "RFC 9590", "LIST and GETMETADATA in one", Always, &["dialogues/imap/metadata.txt"]),
    row("LIST-STATUS", "RFC 5819", "LIST and STATUS in one", Always, &["imap::folders::status_counts"]),
    row("LITERAL+", "RFC 7888", "literals that do not wait", Always, &["dialogues/imap/read.txt"]),
    row("METADATA", "RFC 5464", "annotations of mailboxes and of the server; ENABLE METADATA tells what others change", Always,
        &["dialogues/imap/metadata.txt", "imap::metadata::sessions_that_enable_it_are_told_what_others_change",
          "imap::metadata::values_of_any_octets_come_back", "imap::metadata::limits_have_their_codes",
          "imap::metadata::the_special_use_of_a_mailbox_is_an_annotation"]),
    row("MOVE", "RFC 6851", "messages change their mailbox in one step", Always,
        &["dialogues/imap/read.txt", "imap::messages::copy_and_move"]),
    row("MULTIAPPEND", "RFC 3502", "several messages in one APPEND, all or none", Always,
        &["dialogues/imap/multiappend.txt", "imap::multiappend::messages_small_and_large_come_back_octet_for_octet"]),
    row("NAMESPACE", "RFC 2342", "one personal namespace", Always,
        &["imap::folders::default_mailboxes_with_special_use"]),
    row("NOTIFY", "RFC 5465", "events of any mailbox, told whatever the client is doing", Always,
        &["dialogues/imap/notify-selected.txt", "dialogues/imap/notify-others.txt", "dialogues/imap/notify-names.txt",
          "dialogues/imap/notify-metadata.txt",
          "imap::notify::every_filter_covers_what_it_says", "imap::notify::limits_and_refusals",
          "imap::notify::who_is_far_behind_is_told_so_and_no_more",
          "programs::evolution::evolution_hears_of_events_without_asking"]),
    row("OBJECTID", "RFC 8474", "names of mailboxes and messages that stay; threads have none (NIL)", Always,
        &["imap::objectid::a_mailbox_keeps_its_id_through_rename",
          "imap::objectid::copies_of_a_message_share_its_emailid"]),
    row("PREVIEW", "RFC 8970", "the first words of a message; none of sealed mail", Always,
        &["dialogues/imap/preview.txt"]),
    row("QRESYNC", "RFC 7162 §3.2", "a client that was away is told what it missed as it opens a mailbox", Always,
        &["dialogues/imap/qresync.txt", "imap::qresync::a_client_that_was_away_is_told_what_it_missed",
          "imap::qresync::vanished_takes_the_place_of_expunge"]),
    row("REPLACE", "RFC 8508", "a message takes the place of another in one step", Always,
        &["dialogues/imap/replace.txt", "imap::replace::the_old_message_stays_where_the_new_one_is_refused"]),
    row("QUOTA", "RFC 9208", "what the account holds and may hold; administrators set it", SignedIn,
        &["dialogues/imap/quota.txt", "imap::quota::a_full_account_is_told_and_takes_no_more", "smtp::quota::a_full_mailbox_is_refused_at_rcpt_and_at_the_end"]),
    row("QUOTA=RES-MESSAGE", "RFC 9208 §5.2", "messages of all mailboxes together", SignedIn,
        &["imap::quota::messages_are_counted_and_limited_too", "smtp::quota::a_mailbox_may_have_so_many_messages"]),
    row("QUOTA=RES-STORAGE", "RFC 9208 §5.1", "octets of all mailboxes together, STATUS DELETED-STORAGE", SignedIn,
        &["imap::quota::a_full_account_is_told_and_takes_no_more"]),
    row("SASL-IR", "RFC 4959", "AUTHENTICATE with an initial response", Always,
        &["imap::login::r15_hashedpass_in_one_step_and_nothing_follows_the_ok"]),
    row("SAVEDATE", "RFC 8514", "when a message came into its mailbox", Always,
        &["imap::objectid::save_dates_are_told_and_found"]),
    row("SEARCHRES", "RFC 5182", "$ stands for the last result", Always,
        &["imap::search::esearch_and_saved_results"]),
    row("SORT", "RFC 5256", "messages in the order of date, sender, subject and so on", Always,
        &["dialogues/imap/sort.txt", "imap::sort::every_key_and_its_reverse"]),
    row("SORT=DISPLAY", "RFC 5957", "SORT by the names that people see", Always,
        &["imap::sort::every_key_and_its_reverse"]),
    row("SPECIAL-USE", "RFC 6154", "which mailbox holds drafts, sent mail, junk and so on", Always,
        &["imap::folders::default_mailboxes_with_special_use"]),
    row("STATUS=SIZE", "RFC 8438", "the octets of a mailbox", Always, &["imap::folders::status_counts"]),
    row("THREAD=ORDEREDSUBJECT", "RFC 5256", "conversations by subject", Always,
        &["dialogues/imap/sort.txt", "imap::sort::threads"]),
    row("THREAD=REFERENCES", "RFC 5256", "conversations by what answers what", Always,
        &["dialogues/imap/sort.txt", "imap::sort::threads"]),
    row("UIDPLUS", "RFC 4315", "UIDs of what was appended or copied, UID EXPUNGE", Always,
        &["dialogues/imap/read.txt", "imap::messages::expunge_and_uid_expunge_and_close"]),
    row("UNAUTHENTICATE", "RFC 8437", "the connection goes on with another user; TLS and compression stay", SignedIn,
        &["dialogues/imap/unauthenticate.txt"]),
    row("UNSELECT", "RFC 3691", "leaving a mailbox without expunging", Always,
        &["imap::messages::expunge_and_uid_expunge_and_close"]),
    row("UTF8=ACCEPT", "RFC 6855, RFC 9755", "names and headers in UTF-8", Always,
        &["dialogues/imap/utf8.txt", "imap::utf8::names_are_in_the_form_of_the_session"]),
    row("WITHIN", "RFC 5032", "SEARCH by age in seconds", Always, &["imap::search::younger_and_older"]),
];
