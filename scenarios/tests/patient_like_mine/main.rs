//! The story `patient-like-mine`, told from the command line as a person would, and compared with a kept text.

#[cfg(test)]
#[path = "../compliance_officer/masked.rs"]
mod masked;
#[cfg(test)]
mod told;
