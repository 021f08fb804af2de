//! A consortium of real processes: what its parts promise each other, seen from outside.
//!
//! [`world`] founds consortia: a coordinator, nodes at hospitals with the real data, and people at their command
//! lines, each a process with a folder of its own under one temporary folder. Every test has a consortium of its own
//! and names what it shows. Nothing waits for a time to pass; everything waits for something to be so, with a limit.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod data;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod distinct;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod envelopes;
#[cfg(test)]
mod hostile_frames;
#[cfg(test)]
mod hostile_node;
#[cfg(test)]
mod ingest;
#[cfg(test)]
mod late;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod private;
#[cfg(test)]
mod process;
#[cfg(test)]
mod run;
#[cfg(test)]
mod statistics;
#[cfg(test)]
mod training;
#[cfg(test)]
mod witness;
#[cfg(test)]
mod world;
