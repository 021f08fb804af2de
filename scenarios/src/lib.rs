//! Runnable stories on real data, each also a test.
//!
//! | room | what |
//! |---|---|
//! | [`command`] | what can be typed |
//! | [`house`] | a whole consortium on one machine: processes, enrolment, members |
//! | [`story`] | the stories themselves |
//! | [`report`] | a self-contained page with drawn charts |
//!
//! A story's coordinator and nodes are processes of their own: this program runs itself
//! again in a role and calls the very function that the product's binary is made of.

pub mod command;
pub mod house;
pub mod report;
pub mod story;
