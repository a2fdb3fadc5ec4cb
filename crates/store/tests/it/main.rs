//! Integration tests of the store.

mod backup;
mod conformance;
mod durability;
mod expunge;
mod kill;
mod model;
mod quotas;
mod support;

use std::sync::Arc;

/// The suite for the store of one machine. A second implementation gets a second line like this one.
mod sqlite {
    use super::*;

    fn open() -> (Arc<dyn sealpost_store::Store>, tempfile::TempDir) {
        let (store, dir) = support::open();
        (store, dir)
    }

    crate::conformance::suite!(open);
}
