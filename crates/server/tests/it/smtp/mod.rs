//! SMTP sessions, the control socket, start and stop.

mod admin;
mod closing;
mod dialogues;
mod keyring;
mod keys;
mod limits;
mod login;
mod mail;
mod quota;
mod states;
mod timing;
mod tree;

use crate::kit;
