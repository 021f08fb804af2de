//! What goes wrong by plan: crashes, cuts, broken disks and clocks, changed policies, and a coordinator that lies.

use std::sync::{Arc, PoisonError};

use consilium_coordinator::event::Event;
use consilium_protocol::message::{Request, TensorsAhead, Train, Update};
use consilium_protocol::{Digest, Role, RunId};

use super::network::{Partition, Side, Way};
use super::plan::{PolicyChange, Trouble, policy_text};
use super::property::Step;
use super::world::{Happening, Message, World, parsed};

impl World {
    pub(super) fn trouble(&mut self, trouble: Trouble) -> Step {
        match trouble {
            Trouble::CrashSite(site) => self.site_crashes(site),
            Trouble::CrashCoordinator => {
                self.coordinator_crashes();
                Ok(())
            }
            Trouble::SiteLosesPowerAfter(site, changes) => {
                if let Some(process) = &self.site(site)?.process {
                    process.mount.lose_power_after(changes);
                }
                Ok(())
            }
            Trouble::CoordinatorLosesPowerAfter(changes) => {
                if let Some(process) = &self.coordinator.process {
                    process.mount.lose_power_after(changes);
                }
                Ok(())
            }
            Trouble::CutLink(site) => {
                self.report.links_cut += 1;
                self.cut_link(site);
                Ok(())
            }
            Trouble::Partition {
                sites,
                to_sites,
                to_coordinator,
                lasts_ms,
            } => {
                self.report.partitions += 1;
                let until_ms = self.now_ms + lasts_ms;
                self.begin_partition(Partition {
                    sites,
                    to_sites,
                    to_coordinator,
                    until_ms,
                });
                Ok(())
            }
            Trouble::SiteClock(site, clock) => {
                self.report.clock_troubles += 1;
                let now_ms = self.now_ms;
                self.site(site)?.clock.befall(clock, now_ms);
                Ok(())
            }
            Trouble::CoordinatorClock(clock) => {
                self.report.clock_troubles += 1;
                self.coordinator.clock.befall(clock, self.now_ms);
                Ok(())
            }
            Trouble::Policy(site, change) => self.change_policy(site, change),
            Trouble::Evict(site) => self.evict(site),
            disk @ (Trouble::SiteDisk(..)
            | Trouble::CoordinatorDisk(_)
            | Trouble::LocalValuesFail(_)) => self.disk_trouble(disk),
            lie => self.coordinator_lies(lie),
        }
    }

    fn disk_trouble(&mut self, trouble: Trouble) -> Step {
        self.report.disk_troubles += 1;
        let mut dice = self.dice.split();
        match trouble {
            Trouble::SiteDisk(site, trouble) => {
                if let Some(process) = &self.site(site)?.process {
                    process.mount.trouble(trouble, &mut dice);
                    process.vault.trouble(trouble, &mut dice);
                }
            }
            Trouble::CoordinatorDisk(trouble) => {
                if let Some(process) = &self.coordinator.process {
                    process.mount.trouble(trouble, &mut dice);
                }
            }
            Trouble::LocalValuesFail(site) => self.site(site)?.store_failures = 1,
            _ => {}
        }
        Ok(())
    }

    fn change_policy(&mut self, index: usize, change: PolicyChange) -> Step {
        self.report.policy_changes += 1;
        let site = self.site(index)?;
        site.policy_version += 1;
        let (version, until) = (site.policy_version, site.plan.until);
        let both = "\"update\", \"metrics\"";
        let text = match change {
            PolicyChange::Remove => None,
            PolicyChange::Break => Some("name = \"hospi".to_owned()),
            PolicyChange::Forbid => Some(policy_text(version, until, "another", both)),
            PolicyChange::KeepMetrics => Some(policy_text(version, until, "p", "\"update\"")),
            PolicyChange::Restore => Some(policy_text(version, until, "p", both)),
        };
        let text = text.map(String::into_bytes);
        site.policy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&text);
        if let Some(text) = text {
            self.knows_policy(&text);
        }
        Ok(())
    }

    /// As an administrator's `evict`: once the entry is durable, the connection is cut.
    fn evict(&mut self, index: usize) -> Step {
        let evicted = Event::MemberEvicted {
            role: Role::Site,
            name: self.site(index)?.plan.name.clone().into(),
            reason: "simulated".into(),
            by: parsed("admin")?,
        };
        if !self.record(evicted)? {
            return Ok(());
        }
        self.site(index)?.is_evicted = true;
        let Some(link) = self.links.get(index).cloned() else {
            return Ok(());
        };
        if let Some(epoch) = link.at_site {
            let side = Side::Site;
            self.after(
                50,
                Happening::LinkLost {
                    site: index,
                    epoch,
                    side,
                },
            );
        }
        match link.at_coordinator {
            Some(epoch) => self.link_is_lost(index, epoch, Side::Coordinator),
            None => Ok(()),
        }
    }

    /// Someone with the coordinator's identity asks for what no run asks for. What comes back is heard by nobody
    /// here; what matters is what the site does.
    fn coordinator_lies(&mut self, lie: Trouble) -> Step {
        let record = self.coordinator.known.clone();
        let round = record.map_or(0, |record| record.summary.round);
        self.report.equivocations += 1;
        let (site, train) = match lie {
            Trouble::AskUnsigned(site) => return self.ask_unsigned(site),
            Trouble::Stranger => {
                let update = Update {
                    tensors: self.forged(self.run_id.clone(), round + 1, &[]),
                    records: 12,
                    training_loss: None,
                    held_out: None,
                    metrics_withheld: false,
                    bundle: Digest::of(b""),
                };
                return self.stranger_speaks(update);
            }
            Trouble::Equivocate(site) => {
                let forged = self.forged_state();
                (site, (self.run_id.clone(), round + 1, forged))
            }
            Trouble::AskForeign(site) => {
                let forged = self.forged_state();
                (site, (parsed::<RunId>("r-foreign")?, 1, forged))
            }
            Trouble::AskAgain(site) if round > 0 => {
                let bytes = self.oracle.wire_of(round - 1).unwrap_or_default();
                (site, (self.run_id.clone(), round, bytes))
            }
            _ => return Ok(()),
        };
        let (run_id, round, bytes) = train;
        let Some(epoch) = self.links.get(site).and_then(|link| link.at_site) else {
            return Ok(());
        };
        let train = Train {
            state: self.forged(run_id, round, &bytes),
            from_chunk: 0,
        };
        let stream = self.new_stream();
        self.send_request(site, epoch, stream, Request::Train(train));
        let state = Message::State(Arc::new(bytes));
        self.send(Way::ToSite, site, epoch, stream, state);
        Ok(())
    }

    fn forged(&self, run_id: RunId, round: u32, bytes: &[u8]) -> TensorsAhead {
        TensorsAhead {
            run_id,
            round,
            bytes: self.spec.bytes_on_the_wire(),
            blake3: blake3::hash(bytes).into(),
        }
    }

    fn forged_state(&mut self) -> Vec<u8> {
        let values = self.spec.bytes_on_the_wire() / 4;
        let mut dice = self.dice.split();
        let values: Vec<f32> = (0..values).map(|_| dice.unit()).collect();
        consilium_protocol::model::to_le_bytes(&values)
    }

    fn ask_unsigned(&mut self, site: usize) -> Step {
        let Some(epoch) = self.links.get(site).and_then(|link| link.at_site) else {
            return Ok(());
        };
        let request = Request::Review {
            run_id: parsed("r-unsigned")?,
            run: self.signed_run(false),
        };
        let stream = self.new_stream();
        self.send_request(site, epoch, stream, request);
        Ok(())
    }
}
