//! Where the chunks of a round are while they arrive and until they are folded: the bound on a round's memory beside
//! its accumulator.
//!
//! A chunk needs memory from its first byte on, and is folded when its last one proves its hash. So there are few
//! places, and a site waits for one before it is read from: QUIC's flow control tells it so. A site that then dawdles
//! would keep the place from all others, so it has to go on at one of the *slow* places, from which only its like are
//! kept, and stays among these for the rest of its update.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_link::LinkError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Chunks that arrive quickly, or are about to be folded.
const QUICK_MAX: usize = 16;

/// Of these for each site, where there are few: one to be folded while the next arrives.
const QUICK_OF_EACH: usize = 2;

/// Chunks that arrive slowly. More sites than consortia are expected to have; one that is slow beyond these has to
/// begin its chunk again.
const SLOW_MAX: usize = 128;

/// A chunk that takes longer is slow: below 8 Mbit/s for the longest.
const QUICK: Duration = Duration::from_secs(1);

/// The places of one round.
#[derive(Clone)]
pub(super) struct Places {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// How long a chunk may keep a quick place.
    patience: Duration,
}

/// How one site's update has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pace {
    #[default]
    Quick,
    Slow,
}

/// A chunk's place, until this is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Places {
    pub(super) fn for_sites(count: usize) -> Self {
        let quick = QUICK_OF_EACH.saturating_mul(count).clamp(1, QUICK_MAX);
        Self {
            quick: Arc::new(Semaphore::new(quick)),
            slow: Arc::new(Semaphore::new(SLOW_MAX)),
            patience: QUICK,
        }
    }

    /// Waits for a place and then for the chunk.
    ///
    /// # Errors
    /// The chunk's. [`LinkError::TooSlow`] where too many are slow already.
    pub(super) async fn receive(
        &self,
        pace: &mut Pace,
        chunk: impl Future<Output = Result<Bytes, LinkError>>,
    ) -> Result<(Bytes, Place), LinkError> {
        let places = match pace {
            Pace::Quick => &self.quick,
            Pace::Slow => &self.slow,
        };
        // Nobody closes them.
        let place = places.clone().acquire_owned().await;
        let place = Place(place.map_err(|_| LinkError::Finished)?);
        tokio::pin!(chunk);
        if *pace == Pace::Slow {
            return Ok((chunk.await?, place));
        }
        if let Ok(chunk) = timeout(self.patience, &mut chunk).await {
            return Ok((chunk?, place));
        }
        *pace = Pace::Slow;
        let too_slow = LinkError::TooSlow {
            waited_ms: u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
        };
        let slow = self.slow.clone().try_acquire_owned();
        let slow = Place(slow.map_err(|_| too_slow)?);
        drop(place);
        Ok((chunk.await?, slow))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// As for a round; what dawdles is slow at once.
    fn places(sites: usize) -> Places {
        Places {
            patience: Duration::from_millis(1),
            ..Places::for_sites(sites)
        }
    }

    /// A site that never sends another byte, and where its wait ends.
    fn stalls(places: &Places) -> impl Future<Output = Option<LinkError>> + use<> {
        let places = places.clone();
        async move {
            let mut pace = Pace::default();
            let never = std::future::pending();
            places.receive(&mut pace, never).await.err()
        }
    }

    async fn sends(places: &Places, chunks: usize) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..chunks {
            let chunk = async { Ok(Bytes::from_static(b"chunk")) };
            places.receive(&mut pace, chunk).await.unwrap();
        }
        pace
    }

    #[tokio::test]
    async fn sites_that_stall_hold_nobody_else_back() {
        let places = places(120);
        let mut stalled = JoinSet::new();
        for _ in 0..100 {
            stalled.spawn(stalls(&places));
        }
        // They came first.
        while places.quick.available_permits() == QUICK_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(sends(&places, 40).await, Pace::Quick);
        assert!(stalled.try_join_next().is_none(), "they still wait");
    }

    #[tokio::test]
    async fn there_is_never_memory_for_more_than_the_places() {
        let places = places(1024);
        let mut stalled = JoinSet::new();
        for _ in 0..1000 {
            stalled.spawn(stalls(&places));
        }
        for _ in 0..1000 - SLOW_MAX {
            let ended = stalled.join_next().await.unwrap().unwrap();
            assert!(matches!(ended, Some(LinkError::TooSlow { .. })));
        }
        assert!(stalled.try_join_next().is_none());
        assert_eq!(places.slow.available_permits(), 0);
    }

    #[tokio::test]
    async fn a_slow_site_is_slow_for_the_rest_of_its_update_and_loses_nothing() {
        let places = places(1);
        let mut pace = Pace::default();
        let slow = places.slow.clone();
        let chunk = async {
            while slow.available_permits() == SLOW_MAX {
                tokio::task::yield_now().await;
            }
            Ok(Bytes::from_static(b"late"))
        };
        let (late, place) = places.receive(&mut pace, chunk).await.unwrap();
        assert_eq!((&late[..], pace), (&b"late"[..], Pace::Slow));
        assert_eq!(places.slow.available_permits(), SLOW_MAX - 1);
        assert_eq!(places.quick.available_permits(), QUICK_OF_EACH);
        drop(place);
        let next = async { Ok(Bytes::from_static(b"next")) };
        let (_, place) = places.receive(&mut pace, next).await.unwrap();
        assert_eq!(places.slow.available_permits(), SLOW_MAX - 1);
        drop(place);
        assert_eq!(places.slow.available_permits(), SLOW_MAX);
    }
}
