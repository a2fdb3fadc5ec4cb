//! Sealpost's client: trust, composing, opening, and the life of an account. It never sees a store.

pub mod compose;
pub mod open;
