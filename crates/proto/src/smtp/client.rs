//! The client's side of SMTP: replies in, commands out.
