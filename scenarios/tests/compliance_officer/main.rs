//! The story `compliance-officer`, told from the command line as a person would, and compared with a kept text.

#[cfg(test)]
mod masked;
#[cfg(test)]
mod told;
