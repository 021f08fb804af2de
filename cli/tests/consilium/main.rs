//! What people type, against a coordinator that follows a script, and against journals on disk.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod world;
