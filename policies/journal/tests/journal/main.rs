//! The journal from outside: its format, its openings, crashes and tampering.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod format;
#[cfg(test)]
mod open;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod world;
