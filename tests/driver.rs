//! Drivers that crash, hang or lie: the program goes on without what they cannot do.

#[cfg(unix)]
mod opening;
mod tuning;
