//! RFC 5322 header fields as octets, DKIM "relaxed" header form, and the signature input (profile §6).
