//! kill -9 of real processes at labelled points, and storage that breaks underneath them.
//!
//! Only what a process has made durable and what it has sent can be told apart by anybody else, so the points that
//! matter lie just before and just after each system call that does either. [`tracer`] makes them exact with strace:
//! no program under test is changed.
//!
//! | file | subject |
//! |---|---|
//! | `tracer` | a process that is killed, held or failed at one system call |
//! | `house` | a consortium laid down on disk once, and copied for each case |
//! | `cases` | many of them, several at a time |
//! | `points`, `passes` | the tables of labelled points; those of a charged pass |
//! | `kills` | each point: killed there, started again, the run ends with the same model |
//! | `questions` | killed on the way of a question that has a cost: one answer, paid for |
//! | `private` | killed within a private round: one update, paid for once |
//! | `witnesses` | killed while a witness remembers: nothing that was cosigned is forgotten |
//! | `beginnings` | killed while something begins: founding, enrolling, renewing |
//! | `broken` | a disk that fails a write, is full, or may only be read |

#[cfg(test)]
mod beginnings;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod house;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod passes;
#[cfg(test)]
mod points;
#[cfg(test)]
mod private;
#[cfg(test)]
#[path = "../consortium/process.rs"]
#[expect(dead_code, reason = "the other test program uses the rest")]
mod process;
#[cfg(test)]
mod questions;
#[cfg(test)]
mod tracer;
#[cfg(test)]
mod witnesses;
#[cfg(test)]
#[path = "../consortium/world.rs"]
#[expect(dead_code, reason = "the other test program uses the rest")]
mod world;
