//! Drivers that crash, hang or lie: the program continues without the features that they break.

#[cfg(unix)]
mod opening;
mod tuning;
