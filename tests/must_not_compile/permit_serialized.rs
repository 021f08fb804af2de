// error: Serialize` is not satisfied
//! A permit cannot be written down, and so not be read back.

use consilium_journal::Journal;
use consilium_policies::Permit;

fn write_down(journal: &Journal, permit: &Permit) {
    let _ = journal.append_json(0, "permit", permit);
}

fn main() {
    let _ = write_down;
}
