//! Media types of attachments by the ending of their names: a hint for the reader's mail program, nothing more.

/// Endings and types. Never `message/…` or `multipart/…`, which may not be sent in base64 (RFC 2045 §6.4). Where several
/// endings have one type, the usual one stands first.
const TYPES: [(&str, &str); 41] = [
    ("txt", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("7z", "application/x-7z-compressed"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("heic", "image/heic"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
];

/// The type for `name`; `application/octet-stream` where the ending says nothing.
pub(super) fn guess(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| *known == ending);
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

/// The usual ending of names of this type (without parameters, in lower case).
pub(crate) fn ending(media_type: &str) -> Option<&'static str> {
    let of = |(_, known): &&(&str, &str)| known.split(';').next() == Some(media_type);
    TYPES.iter().find(of).map(|(ending, _)| *ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_and_types() {
        for (name, want) in [
            ("a.PDF", "application/pdf"),
            ("a.b.txt", "text/plain; charset=utf-8"),
            ("letter.eml", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(guess(name), want, "{name}");
        }
        for (media_type, want) in
            [("image/jpeg", Some("jpg")), ("text/csv", Some("csv")), ("x/y", None), ("", None)]
        {
            assert_eq!(ending(media_type), want, "{media_type}");
        }
        for (_, media_type) in TYPES {
            assert!(!media_type.starts_with("message/") && !media_type.starts_with("multipart/"));
        }
    }
}
