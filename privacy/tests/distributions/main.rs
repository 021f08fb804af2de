//! Draws of every mechanism against the exact law, in the build at hand: OpenDP before 0.14.2 was biased by a
//! division in a library below it, and no test of costs would have shown it.
//!
//! Each test is χ² at a level of 1e-6: of a million runs of a right build, one fails. That such a test would catch
//! noise of half the scale is a test itself. Draws come from the operating system and can't be repeated.

#[cfg(test)]
mod laws;
#[cfg(test)]
mod mechanisms;
