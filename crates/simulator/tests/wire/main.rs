//! The simulator seen from outside, through real sockets and pseudo terminals.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod third_party;
