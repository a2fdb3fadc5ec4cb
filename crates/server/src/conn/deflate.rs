//! DEFLATE over a connection (RFC 4978, RFC 1951).
//!
//! What a session holds while it waits is the state that reads: 32 KiB of window, which the client's octets may refer to,
//! and 11 KiB of tables. The state that writes (300 KiB) is one for each thread: every write is compressed by itself and
//! ends at an octet (a sync flush), and refers to none before it, which any reader understands. That costs a few percent
//! of what is saved.

use bytes::{Buf as _, Bytes, BytesMut};
use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    deflate::{
        core::{CompressorOxide, create_comp_flags_from_zip_params},
        stream::deflate,
    },
    inflate::stream::{InflateState, inflate},
};
use std::{cell::RefCell, io};

/// Octets inflated at most at each read, whatever a few octets expand to: the same that a read takes in the clear.
const STEP: usize = 16 * 1024;
/// Octets that come out of the compressor at a time.
const OUT_STEP: usize = 16 * 1024;
/// zlib's 1 is fast, its 6 the usual one: mail is written once and waited for.
const LEVEL: i32 = 4;
/// Raw deflate, without zlib's header.
const RAW_WINDOW_BITS: i32 = -15;

thread_local! {
    static COMPRESSOR: RefCell<Box<CompressorOxide>> = RefCell::new(Box::new(CompressorOxide::new(
        create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW_BITS, 0),
    )));
}

/// What the client sends, on its way from compressed to clear.
pub(super) struct Inflater {
    state: Box<InflateState>,
    /// Received, not yet inflated: one read of the socket at most.
    pending: Bytes,
    /// Inflated octets may be held back inside the state.
    more: bool,
}

impl Inflater {
    /// `pending` came behind the command that turned compression on.
    pub(super) fn new(pending: BytesMut) -> Self {
        Self {
            more: !pending.is_empty(),
            state: InflateState::new_boxed(DataFormat::Raw),
            pending: pending.freeze(),
        }
    }

    /// Whether something may come out without new octets.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// Takes compressed octets; only where nothing is left.
    pub(super) fn take(&mut self, octets: &mut BytesMut) {
        self.pending = octets.split().freeze();
        self.more = true;
    }

    /// Inflates [`STEP`] octets at most to the end of `input`; how many.
    pub(super) fn inflate(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        let start = input.len();
        input.resize(start + STEP, 0);
        let result = inflate(&mut self.state, &self.pending, &mut input[start..], MZFlush::None);
        input.truncate(start + result.bytes_written);
        self.pending.advance(result.bytes_consumed);
        self.more = !self.pending.is_empty() || result.bytes_written == STEP;
        if self.pending.is_empty() {
            // The room of what was taken is given back: an idle session holds none.
            self.pending = Bytes::new();
        }
        match result.status {
            Ok(MZStatus::Ok) => Ok(result.bytes_written),
            // Nothing to be done with what is there.
            Err(MZError::Buf) => {
                self.more = false;
                Ok(result.bytes_written)
            }
            // A stream that ends goes on no more (RFC 4978 has no end but the connection's).
            Ok(_) | Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "not DEFLATE, or an end of it")),
        }
    }
}

/// These octets compressed, to be read at once.
pub(super) fn compressed(mut octets: &[u8]) -> io::Result<Vec<u8>> {
    let failed = || io::Error::other("the compressor failed");
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut out = Vec::with_capacity(octets.len() / 3 + 64);
        loop {
            let start = out.len();
            out.resize(start + OUT_STEP, 0);
            let result = deflate(compressor, octets, &mut out[start..], MZFlush::Sync);
            out.truncate(start + result.bytes_written);
            octets = &octets[result.bytes_consumed..];
            match result.status {
                // There was room left: all is out, and the flush with it.
                Ok(_) if octets.is_empty() && result.bytes_written < OUT_STEP => return Ok(out),
                Ok(_) => {}
                Err(MZError::Buf) if octets.is_empty() => return Ok(out),
                Err(_) => return Err(failed()),
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(pieces: &[Vec<u8>], cut: usize) -> Vec<u8> {
        let wire: Vec<u8> = pieces.iter().flat_map(|p| compressed(p).unwrap()).collect();
        let mut inflater = Inflater::new(BytesMut::new());
        let mut clear = BytesMut::new();
        for octets in wire.chunks(cut) {
            inflater.take(&mut BytesMut::from(octets));
            while inflater.has_more() {
                inflater.inflate(&mut clear).unwrap();
            }
        }
        clear.to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read(
            pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![9 => 97u8..100, 1 => any::<u8>()], 0..40_000), 0..4),
            cut in 1usize..20_000,
        ) {
            prop_assert_eq!(through(&pieces, cut), pieces.concat());
        }

        #[test]
        fn never_panics(octets: Vec<u8>) {
            let mut inflater = Inflater::new(BytesMut::from(&octets[..]));
            let mut clear = BytesMut::new();
            while inflater.has_more() && inflater.inflate(&mut clear).is_ok() {}
        }
    }

    #[test]
    fn lengths_around_the_steps() {
        for len in [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP] {
            // What compresses well, and what does not.
            let (same, mut state) = (vec![b'x'; len], 1u32);
            let random: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .take(len)
            .collect();
            for octets in [same, random] {
                assert_eq!(through(std::slice::from_ref(&octets), 16 * 1024), octets, "{len}");
            }
        }
    }

    /// 64 MiB of nothing in 64 KiB: no more than a step of it is there at once.
    #[test]
    fn a_bomb_comes_in_steps() {
        let wire = compressed(&vec![0; 64 * 1024 * 1024]).unwrap();
        assert!(wire.len() < 512 * 1024, "{}", wire.len());
        let (mut clear, mut all) = (BytesMut::new(), 0);
        let mut inflater = Inflater::new(BytesMut::new());
        for octets in wire.chunks(16 * 1024) {
            inflater.take(&mut BytesMut::from(octets));
            while inflater.has_more() {
                all += inflater.inflate(&mut clear).unwrap();
                assert!(clear.len() <= STEP);
                clear.clear();
            }
        }
        assert_eq!(all, 64 * 1024 * 1024);
    }
}
