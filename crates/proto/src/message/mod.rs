//! Messages as octets: RFC 5322 header fields, DKIM "relaxed" header form, the signature input (profile §6), mailbox
//! lists, and what a writer needs to send nothing but 7-bit lines of at most 76 columns.

mod header;
#[cfg(feature = "html")]
pub mod html;
mod mailboxes;
#[cfg(feature = "html")]
pub mod preview;
mod sender;
mod signature;
pub mod transfer;
pub mod write;

pub use header::{Field, Header, HeaderError, MAX_FIELDS, MAX_HEADER_OCTETS, relaxed};
pub use mailboxes::{MAX_MAILBOXES, MailboxList, NamedMailbox};
pub use sender::{
    ENCRYPTED_FIELD, Encrypted, PUBKEY_FIELD, SIGNATURE_FIELD, SenderFieldError, SenderSignature,
    fold_pubkey, fold_signature, parse_pubkey, parse_signature,
};
pub use signature::{
    SEALED_CONTENT_TYPE, SEALED_TRANSFER_ENCODING, SIGNED_FIELDS, SignatureFault, SignatureInput,
};
