//! A hostile mail server: every line, count and pause of it is bounded.

use super::*;

/// A server that says what it is told, whatever it is asked.
async fn told(answers: Vec<u8>) -> Result<Vec<u8>> {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut buffer = [0; 1024];
        far.write_all(b"* OK hi\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        far.write_all(b"* CAPABILITY IMAP4rev1\r\ns1 OK\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        // It may hang up in the middle: that is an answer, too.
        let _ = far.write_all(&answers).await;
    });
    let mut imap = Imap::start(near).await?;
    let mut got = Vec::new();
    let result = imap.fetch_message(1, 1000, &mut got, &mut |_, _| {}).await;
    drop(imap);
    let _ = server.await;
    result.map(|_| got)
}

#[tokio::test]
async fn hostile_servers_are_errors_not_memory() {
    for answers in [
        b"* 1 FETCH (BODY[] {99999999999}\r\n".to_vec(),
        b"* 1 FETCH (BODY[TEXT] {99999999999}\r\n".to_vec(),
        b"* 1 FETCH (BODY[] {1001}\r\n".to_vec(),
        b"* 1 FETCH (BODY[] NIL)\r\ns2 OK\r\n".to_vec(),
        b"* 1 FETCH (BODY[] {3}\r\nab".to_vec(),
        b"* BYE\r\n".to_vec(),
        b"s9 OK\r\n".to_vec(),
        b"s2 NO\r\n".to_vec(),
        b"\xff\xff\r\n".to_vec(),
        [b"* OK ".as_slice(), &vec![b'x'; 2 << 20]].concat(),
        [b"* 1 FETCH (X ".as_slice(), &[b'('; 5000], b"\r\n"].concat(),
        Vec::new(),
    ] {
        let shown = String::from_utf8_lossy(&answers[..answers.len().min(40)]).into_owned();
        assert!(told(answers).await.is_err(), "{shown}");
    }
}

#[tokio::test]
async fn a_message_among_other_responses_is_streamed() {
    let answers = b"* 9 EXISTS\r\n* 2 FETCH (FLAGS ())\r\n* 1 FETCH (UID 1 BODY[] {5}\r\na)\r\nb FLAGS ())\r\ns2 OK\r\n";
    assert_eq!(told(answers.to_vec()).await.unwrap(), b"a)\r\nb");
}

/// What `fetch_messages` makes of these answers to a FETCH of UIDs 1 and 2, of 10 octets in all.
async fn fetched(answers: &str) -> Result<Vec<(u32, Vec<u8>)>> {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let answers = answers.to_owned();
    let server = tokio::spawn(async move {
        let mut buffer = [0; 1024];
        far.write_all(b"* OK hi\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        far.write_all(b"* CAPABILITY IMAP4rev1\r\ns1 OK\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        let _ = far.write_all(answers.as_bytes()).await;
    });
    let mut imap = Imap::start(near).await?;
    let result = imap.fetch_messages(&[1, 2], 10, Vec::new).await;
    drop(imap);
    let _ = server.await;
    result
}

#[tokio::test]
async fn many_bodies_are_those_asked_for_and_bounded_together() {
    for (answers, expected) in [
        (
            "* 1 FETCH (UID 1 BODY[] {5}\r\nab\r\nc)\r\n* 9 EXISTS\r\n* 2 FETCH (BODY[] \"x\" UID 2)\r\ns2 OK\r\n",
            vec![(1, "ab\r\nc"), (2, "x")],
        ),
        // Not asked for, twice, flags of another session, gone.
        ("* 1 FETCH (UID 3 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 1 FLAGS ())\r\ns2 OK\r\n", vec![]),
        (
            "* 1 FETCH (UID 1 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 1 BODY[] {1}\r\nb)\r\ns2 OK\r\n",
            vec![(1, "a")],
        ),
        ("* 1 FETCH (UID 1 BODY[] NIL)\r\ns2 OK\r\n", vec![]),
        ("* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\ns2 OK\r\n", vec![(1, "")]),
    ] {
        let got = fetched(answers).await.unwrap();
        let got: Vec<(u32, &str)> =
            got.iter().map(|(uid, octets)| (*uid, std::str::from_utf8(octets).unwrap())).collect();
        assert_eq!(got, expected, "{answers}");
    }
    let six = "{6}\r\nabcdef";
    for answers in [
        "* 1 FETCH (UID 1 BODY[] {11}\r\nabcdefghijk)\r\ns2 OK\r\n".to_owned(),
        format!("* 1 FETCH (UID 1 BODY[] {six})\r\n* 2 FETCH (UID 2 BODY[] {six})\r\ns2 OK\r\n"),
        "* 1 FETCH (UID 1 BODY[] {1}\r\na BODY[] {1}\r\nb)\r\ns2 OK\r\n".to_owned(),
        "* 1 FETCH (UID 1 BODY[] {5}\r\nab".to_owned(),
        "* BYE\r\n".to_owned(),
        "s2 NO\r\n".to_owned(),
        "s3 OK\r\n".to_owned(),
    ] {
        assert!(fetched(&answers).await.is_err(), "{answers}");
    }
}

/// A server that greets, says its capabilities and then does `rest` for ever, `pause` apart, whatever it is asked.
async fn on_and_on(rest: Vec<u8>, pause: Duration) -> (ImapError, Duration) {
    let login = rest.starts_with(b"+");
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut buffer = [0; 1024];
        far.write_all(b"* OK hi\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        far.write_all(b"* CAPABILITY IMAP4rev1 AUTH=HASHEDPASS\r\ns1 OK\r\n").await.unwrap();
        while far.write_all(&rest).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut imap = Imap::start(near).await.unwrap();
    let began = Instant::now();
    let error = if login {
        imap.authenticate_hashed_pass(b"\0a\0b").await.unwrap_err()
    } else {
        let mut got = Vec::new();
        imap.fetch_message(1, 1 << 30, &mut got, &mut |_, _| {}).await.unwrap_err()
    };
    drop(imap);
    server.abort();
    (error, began.elapsed())
}

/// One octet at a time, and lines that say nothing: no step is ever late, the whole is.
#[tokio::test(start_paused = true)]
async fn a_server_that_trickles_is_left_after_a_quarter_of_an_hour() {
    for (rest, pause) in [("x", 500), ("* OK still here\r\n", 590), ("* 1 EXISTS\r\n", 1)] {
        let (error, took) = on_and_on(rest.into(), Duration::from_secs(pause)).await;
        assert!(matches!(error, ImapError::Slow), "{error}");
        assert!(took <= SESSION + SILENCE, "{took:?}");
    }
    // Nothing at all.
    let (error, took) = on_and_on(Vec::new(), SILENCE * 9).await;
    assert!(matches!(error, ImapError::Silent) && took <= SILENCE, "{error} {took:?}");
}

/// As fast as it can, for ever: the memory of the responses is what ends it.
#[tokio::test]
async fn endless_responses_end_by_their_memory() {
    let part = "x".repeat(2 << 20);
    let endless = format!("* 1 FETCH (BODY[TEXT] {{{}}}\r\n{part})\r\n", part.len());
    let (error, _) = on_and_on(endless.into(), Duration::ZERO).await;
    assert!(matches!(error, ImapError::TooMuch("responses to one command")), "{error}");
}

/// A line without an end is thrown away as it comes, which would go on for ever.
#[tokio::test]
async fn an_endless_line_ends_by_its_octets() {
    for start in ["x", "* OK ", "* 1 FETCH (BODY[TEXT] {99999999}\r\n"] {
        let endless = start.to_owned() + &"x".repeat(1 << 20);
        let (error, _) = on_and_on(endless.into(), Duration::ZERO).await;
        assert!(matches!(error, ImapError::TooMuch("one response" | "one literal")), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_takes_a_login_nor_refuses_it_is_left() {
    let (error, _) = on_and_on(b"+ \r\n".to_vec(), Duration::ZERO).await;
    assert!(matches!(error, ImapError::Protocol(_)), "{error}");
}

/// A flag takes two octets on the wire, and many times that in memory.
#[test]
fn what_a_response_takes_is_counted_by_its_values() {
    let parsed = |text: &str| reply(text.as_bytes(), Names::Utf7).unwrap();
    assert_eq!(values(&parsed("* 1 FETCH (UID 1 FLAGS (a b c))\r\n")), 1 + 1 + 4);
    assert_eq!(values(&parsed("* CAPABILITY IMAP4rev1 X Y\r\n")), 4);
    assert_eq!(values(&parsed("* 1 EXISTS\r\n")), 1);
}
