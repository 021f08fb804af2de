//! The story `heart-disease`, told from the command line as a person would.

#[cfg(test)]
mod told;
