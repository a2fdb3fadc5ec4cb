//! The client as its users call it.

mod message;
