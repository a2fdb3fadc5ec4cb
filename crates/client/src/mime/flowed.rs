//! `format=flowed` (RFC 3676): text whose lines go on where they end in a space, so that readers fill them anew.

/// The line that begins a signature; its space says nothing about flowing (§4.3).
const SIGNATURE: &str = "-- ";

/// The text with a line for each paragraph. Quoted ones begin with a `>` for each level and a space. `delsp`: the space at
/// the end of a line is not part of the text (§4.2).
pub(crate) fn unflowed(text: &str, delsp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // Depth of the paragraph that goes on.
    let mut going_on: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let content = line.trim_start_matches('>');
        let depth = line.len() - content.len();
        // Stuffed with a space, so that what begins with `>`, `From ` or a space is left alone (§4.4).
        let content = content.strip_prefix(' ').unwrap_or(content);
        // A change of depth ends a paragraph, whatever its last line says (§4.5).
        let goes_on = going_on == Some(depth) && content != SIGNATURE;
        if !goes_on {
            if going_on.is_some() {
                out.push('\n');
            }
            if depth > 0 {
                out.extend(std::iter::repeat_n('>', depth));
                out.push(' ');
            }
        }
        let flows = content.ends_with(' ') && content != SIGNATURE;
        out.push_str(if flows && delsp { &content[..content.len() - 1] } else { content });
        if flows {
            going_on = Some(depth);
        } else {
            out.push('\n');
            going_on = None;
        }
    }
    if going_on.is_some() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paragraphs_are_filled() {
        for (text, delsp, want) in [
            ("", false, ""),
            ("one \ntwo\nthree\n", false, "one two\nthree\n"),
            ("one \r\ntwo\r\n", false, "one two\n"),
            ("over \nlap", true, "overlap\n"),
            (">> a \n>> b\n> c \nd\n", false, ">> a b\n> c \nd\n"),
            // Stuffed.
            (" From me\n >no quote\n  two\n", false, "From me\n>no quote\n two\n"),
            ("> > two\n", false, "> > two\n"),
            ("text \n-- \nAlice \n", false, "text \n-- \nAlice \n"),
            ("ends in a \n", false, "ends in a \n"),
            ("\n\n", false, "\n\n"),
        ] {
            assert_eq!(unflowed(text, delsp), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn words_are_neither_lost_nor_made(text in "(>| |\r?\n|a|bc|-- |ü){0,80}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            for delsp in [false, true] {
                prop_assert_eq!(letters(&unflowed(&text, delsp)), letters(&text));
            }
            // What does not flow any more stays as it is, but for what is stuffed.
            prop_assert!(unflowed(&text, false).lines().count() <= text.lines().count());
        }
    }
}
