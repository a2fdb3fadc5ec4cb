//! The control socket's lines of JSON.

use sealpost_server::admin::{Request, Response};

/// What is read is written and read again as the same.
pub(crate) fn control(input: &[u8]) {
    for line in input.split(|b| *b == b'\n') {
        if let Ok(request) = serde_json::from_slice::<Request>(line) {
            let written = serde_json::to_string(&request).expect("it is JSON");
            assert!(!written.contains('\n'), "more than one line");
            let again: Request = serde_json::from_str(&written).expect("what was written can be read");
            assert_eq!(serde_json::to_string(&again).expect("it is JSON"), written);
        }
        if let Ok(response) = serde_json::from_slice::<Response>(line) {
            let written = serde_json::to_string(&response).expect("it is JSON");
            assert!(!written.contains('\n'), "more than one line");
            let again: Response = serde_json::from_str(&written).expect("what was written can be read");
            assert_eq!(serde_json::to_string(&again).expect("it is JSON"), written);
        }
    }
}
