//! The configuration file.

/// Settled configuration of `sealpost serve`.
#[derive(Debug, Clone)]
pub struct Config {
    _private: (),
}
