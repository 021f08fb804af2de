//! What leaves for a count of distinct patients: which cells of a sketch are occupied, behind coins, under masks.
//!
//! Two things hide a patient, and neither needs the other. The coins are this site's own, at the full price that its
//! patients pay: what leaves would be private without any mask. The masks keep even that from whoever does not have the
//! sum over all sites. The vault keeps the sketch with its coins and without masks: asked again, the site masks the
//! same bits anew, and pays no more.

use consilium_link::{LinkageKey, MaskError, MaskKey, SiteKeys};
use consilium_policies::entry::Receipt;
use consilium_policies::{Action, Permit, Release, StatisticKind};
use consilium_privacy::Cost;
use consilium_privacy::mechanism::{noisy_occupancy, noisy_occupancy_cost};
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::message::{MaskedSketch, Response};
use consilium_protocol::query::Accuracy;
use consilium_protocol::{Digest, Refusal, RefusalCode, SiteName, wire};

use super::egress::{NotKept, keep_response, kept_response, sealed::Sealed};
use super::egress_statistics::PriceError;
use super::{Egress, Released};

/// Which cells are occupied, exact. No `Debug`: it has not complied yet.
pub struct OccupiedCells {
    pub cells: Vec<bool>,
    pub accuracy: Accuracy,
}

/// A sketch behind its coins, not yet under masks: only [`Released::masked`] opens it. No `Debug`.
pub struct NoisySketch(MaskedSketch);

/// What a sketch costs each patient, known before any record is read.
///
/// # Errors
/// There is no such sketch.
pub fn sketch_price(accuracy: Accuracy) -> Result<Cost, PriceError> {
    let Accuracy::Epsilon(epsilon) = accuracy else {
        return Err(PriceError::SketchNeedsEpsilon);
    };
    Ok(noisy_occupancy_cost(&Cost::pure(epsilon)?)?.0)
}

impl Sealed for OccupiedCells {}

impl Egress for OccupiedCells {
    type Wire = NoisySketch;

    fn comply(self, permit: &Permit) -> Result<NoisySketch, Refusal> {
        let is_permitted = matches!(
            permit.action(),
            Action::Statistic {
                statistic: StatisticKind::Distinct,
                noisy: true
            }
        );
        if !is_permitted || !permit.releases(Release::DistinctSketch) {
            return Err(Refusal::new(
                RefusalCode::NotPermitted,
                "a sketch of distinct patients does not leave under this permit",
                "this is a fault of the node's software; tell its operator",
            ));
        }
        let no_noise = |problem: String| {
            Refusal::new(
                RefusalCode::InvalidQuery,
                format!("no sketch can be made: {problem}"),
                "ask with another epsilon",
            )
        };
        let price = match self.accuracy {
            Accuracy::Epsilon(epsilon) => {
                Cost::pure(epsilon).map_err(|error| no_noise(error.to_string()))?
            }
            _ => return Err(no_noise(PriceError::SketchNeedsEpsilon.to_string())),
        };
        let (_, flip) =
            noisy_occupancy_cost(&price).map_err(|error| no_noise(error.to_string()))?;
        let (shown, _) =
            noisy_occupancy(&self.cells, &price).map_err(|error| no_noise(error.to_string()))?;
        Ok(NoisySketch(MaskedSketch {
            bits: packed(&shown),
            flip,
            bundle: permit.bundle(),
        }))
    }

    fn receipt(sketch: &NoisySketch) -> Result<Receipt, FrameError> {
        let response = Response::MaskedSketch(sketch.0.clone());
        let frame = frame::encode(&wire::Response::from(response))?;
        Ok(Receipt {
            what: "sketch".to_owned(),
            // Of the sketch as it is kept. What is sent is this under masks, other ones each time.
            frame: Digest::of(&frame),
            tensors: None,
            records: 0,
            metrics_withheld: false,
        })
    }

    fn keep(sketch: &NoisySketch) -> Result<Vec<u8>, FrameError> {
        keep_response(Response::MaskedSketch(sketch.0.clone()))
    }

    fn kept(bytes: &[u8]) -> Result<NoisySketch, NotKept> {
        match kept_response(bytes)? {
            Response::MaskedSketch(sketch) => Ok(NoisySketch(sketch)),
            _ => Err(NotKept::OtherKind),
        }
    }
}

impl Released<NoisySketch> {
    /// The same under this site's masks: what is sent.
    ///
    /// # Errors
    /// The keys are not those that this site's key was made for.
    pub fn masked(
        self,
        key: MaskKey,
        site: &SiteName,
        keys: &SiteKeys,
        linkage: &LinkageKey,
    ) -> Result<Released<MaskedSketch>, MaskError> {
        let is_repeated = self.is_repeated();
        let NoisySketch(mut sketch) = self.into_inner();
        key.mask(site, keys, linkage, &mut sketch.bits)?;
        Ok(match is_repeated {
            true => Released::again(sketch),
            false => Released::settled(sketch),
        })
    }
}

/// Eight cells a byte, the first one lowest.
fn packed(cells: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| {
        let bits = eight.iter().enumerate();
        bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)
    };
    cells.chunks(8).map(byte).collect()
}
