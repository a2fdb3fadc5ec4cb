//! IDLE (RFC 2177): changes are told as they happen, until DONE.

use super::session::{Done, Event, IDLE_TIMEOUT, Refusal, Session, ok};
use sealpost_proto::imap::Received;
use tokio::time::Instant;

impl Session {
    pub(super) async fn idle(&mut self) -> Result<Done, Refusal> {
        self.account()?;
        self.out.extend_from_slice(b"+ idling\r\n");
        let end = Instant::now() + IDLE_TIMEOUT;
        loop {
            // What NOTIFY asked for is told here too (RFC 5465 §4).
            self.tell(true).await?;
            if self.over {
                return Err(Refusal::Silent);
            }
            self.flush().await?;
            if let Some(conn) = &mut self.conn {
                match self.receiver.receive(&mut conn.input) {
                    Received::More => {}
                    Received::Whole => {
                        let line = self.receiver.take();
                        return if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") {
                            ok("IDLE done")
                        } else {
                            Err(Refusal::Bad("expected DONE".to_owned()))
                        };
                    }
                    Received::TooLong => {
                        drop(self.receiver.take());
                        return Err(Refusal::Bad("expected DONE".to_owned()));
                    }
                    Received::Endless => return Err(Refusal::endless()),
                    Received::Literal(head) => {
                        if self.drop_literal(head) {
                            return Err(Refusal::Bad("expected DONE".to_owned()));
                        }
                        return if self.over {
                            Err(Refusal::Silent)
                        } else {
                            Err(Refusal::Bad("expected DONE".into()))
                        };
                    }
                }
            }
            let silence = end.saturating_duration_since(Instant::now());
            let Some(event) = self.wait_or_news(silence, true).await? else { continue };
            if matches!(event, Event::End) {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            if let Some(text) = event.bye() {
                return Err(Refusal::Bye(text.to_owned()));
            }
        }
    }
}
