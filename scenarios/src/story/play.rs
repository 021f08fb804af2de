//! How a story of several processes begins and ends: a consortium is founded in a folder, the story is told, and every
//! process ends whatever came of it.

use std::path::PathBuf;

use super::StoryError;
use super::narrator::Narrator;
use super::stage::{check_writable, settle_in};
use super::told::{result, step};
use crate::house::{Consortium, write};

/// What was asked for on the command line.
pub struct Options {
    pub json: Option<PathBuf>,
    /// Where everything stays; a folder that goes when left out.
    pub keep: Option<PathBuf>,
}

/// A story that a consortium plays.
pub struct Play {
    /// Who is founded, in a sentence.
    pub(super) cast: &'static str,
    /// What the data set or collection is called.
    pub(super) data: &'static str,
    pub(super) acts: fn(&mut Narrator, &Consortium) -> Result<(), StoryError>,
}

impl Play {
    /// Tells the story to its end.
    ///
    /// # Errors
    /// What went wrong, after every process was ended.
    pub fn tell(&self, options: &Options) -> Result<(), StoryError> {
        if let Some(path) = &options.json {
            check_writable(path, "--json")?;
        }
        let (root, household) = settle_in(options.keep.as_deref())?;
        let mut told = Narrator::new(&root);
        result(
            "Lines that begin with ~ hold noise, sizes or times, and differ from one telling to the next.",
        );
        step(self.cast);
        let consortium = Consortium::found(told.root(), household, self.data)?;
        let went = (self.acts)(&mut told, &consortium);
        if let (Err(_), fallen) = (&went, consortium.fallen()) {
            fallen.iter().for_each(|line| step(line));
        }
        consortium.end();
        went?;
        if let Some(path) = &options.json {
            write(path, &format!("{:#}\n", told.figures()))?;
        }
        if options.keep.is_some() {
            step(&format!("Everything stays in {}.", root.display()));
        }
        Ok(())
    }
}
