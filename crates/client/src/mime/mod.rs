//! Reading MIME as a stream in bounded memory (RFC 2045 to 2047, RFC 2231): the payload of a message may be far larger
//! than what is shown of it. Charsets come from mail-parser's decoders.

pub(crate) mod file_name;
pub(crate) mod flowed;
pub(crate) mod parameters;
pub(crate) mod parser;
pub(crate) mod words;
