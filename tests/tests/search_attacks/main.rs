//! The attack suite of private search: what somebody with a certificate, or who runs the coordinator, tries, and what
//! it gives.
//!
//! Everything but [`wire`] asks one hospital's node in this process, with searches that are signed, expire and are paid
//! for as any other; only the clock is the test's, so that an attacker's weeks take seconds. Notes are those of
//! `scenarios/data/clinical-notes`. What was measured is printed in rows that begin with `measured`; pass criteria are
//! asserted with the margin that each names, and where a criterion is not met the row says so and docs/THREATS.md does.

#[cfg(test)]
mod canaries;
#[cfg(test)]
mod disclosures;
#[cfg(test)]
mod eligibility;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod hospital;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod papers;
#[cfg(test)]
#[path = "../consortium/process.rs"]
#[expect(dead_code, reason = "the consortium's own tests need more of it")]
mod process;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod tracker;
#[cfg(test)]
mod wire;
#[cfg(test)]
#[path = "../consortium/world.rs"]
#[expect(dead_code, reason = "the consortium's own tests need more of it")]
mod world;
