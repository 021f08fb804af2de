//! Searching as a library call: a connection, and as many searches over it as are wanted.

use std::path::Path;
use std::time::Duration;

use consilium_link::{ReplyKey, wall_clock};
use consilium_protocol::SiteName;
use consilium_protocol::envelope::Failure;
use consilium_protocol::message::{
    AnsweredBy, DisclosedHit, Figure, Found, Missing, PassageHit, QUERY_TIMEOUT_MS_MAX, Request,
    Response, SearchResult, SignedSearch,
};
use consilium_protocol::search::merge::{At, disclosed};
use consilium_protocol::search::{Search, SearchDocument};
use consilium_protocol::{Digest, Refusal};

use crate::ending::{CliError, NoAnswer};
use crate::home::Home;
use crate::session::Session;

/// How long a signed search is good, beyond what its asker waits for: the clocks of two machines differ by less.
const VALID_FOR_MS: u64 = 5 * 60 * 1000;

/// A researcher's connection to the coordinator, for searches.
pub struct Searcher {
    session: Session,
}

/// What the consortium says to a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOutcome {
    /// SHA-256 of the search's canonical text.
    pub search: Digest,
    pub told: Told,
    pub answered: Vec<AnsweredBy>,
    pub refused: Vec<(SiteName, Refusal)>,
    pub missing: Vec<(SiteName, Missing)>,
}

/// What was found, by the level that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Levels 0 and 1.
    Figures(Vec<Figure>),
    /// Levels 2 and 3, opened here, nearest first.
    Disclosed(Vec<At<DisclosedHit>>),
    /// Level 4, best first.
    Passages(Vec<At<PassageHit>>),
}

impl Searcher {
    /// Connects as the member whose folder this is.
    ///
    /// # Errors
    /// There is no member, or no coordinator that knows it.
    pub async fn connect(home: &Path) -> Result<Self, Failure> {
        let home = Home::resolve(Some(home.to_owned())).map_err(NoAnswer::from)?;
        Ok(Self::begin(&home).await?)
    }

    pub(crate) async fn begin(home: &Home) -> Result<Self, NoAnswer> {
        let session = Session::begin(home).await?;
        Ok(Self { session })
    }

    /// Asks the sites, and gives what they found in one order.
    ///
    /// # Errors
    /// The search is none or was refused whole, or the connection failed. That no site answered is an outcome.
    pub async fn search(
        &self,
        document: SearchDocument,
        timeout: Duration,
    ) -> Result<SearchOutcome, Failure> {
        let search = Search::new(document)
            .map_err(CliError::Query)
            .map_err(NoAnswer::from)?;
        Ok(self.ask(&search, timeout).await?)
    }

    pub(crate) async fn ask(
        &self,
        search: &Search,
        timeout: Duration,
    ) -> Result<SearchOutcome, NoAnswer> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let timeout_ms = timeout_ms.clamp(1, QUERY_TIMEOUT_MS_MAX);
        let key = ReplyKey::generate().map_err(CliError::Seal)?;
        let credentials = self.session.credentials();
        let text = search.text().as_bytes().to_vec();
        let expires_at_ms = wall_clock().plus_ms(timeout_ms + VALID_FOR_MS).0;
        let signed = SignedSearch {
            signature: credentials.sign_search(&text, &key.public(), expires_at_ms)?,
            certificate: credentials.certificate().to_vec(),
            reply_key: key.public(),
            expires_at_ms,
            text,
        };
        let request = Request::Search {
            search: signed,
            timeout_ms,
        };
        match self.session.ask(request).await? {
            Response::SearchResult(result) if result.search == search.digest() => {
                Ok(self.opened(search, &key, result))
            }
            Response::SearchResult(_) => {
                let what = "the result of another search";
                Err(CliError::Untrustworthy { what }.into())
            }
            _ => Err(CliError::Unexpected { asked: "search" }.into()),
        }
    }

    /// Opens what is sealed. An answer that does not open is none: its site is missing.
    fn opened(&self, search: &Search, key: &ReplyKey, result: SearchResult) -> SearchOutcome {
        let SearchResult {
            search: digest,
            found,
            mut answered,
            refused,
            mut missing,
        } = result;
        let told = match found {
            Found::Figures(figures) => Told::Figures(figures),
            Found::Passages(_) if search.document().wanted.level() < 4 => {
                Told::Disclosed(Vec::new())
            }
            Found::Passages(passages) => Told::Passages(passages),
            Found::Sealed(sealed) => {
                let mut opened = std::collections::BTreeMap::new();
                for (site, answer) in sealed {
                    let anchor = self.session.credentials().anchor();
                    match key.open(search, &site, &answer, anchor, wall_clock()) {
                        Ok(told) => {
                            if let Some(by) = answered.iter_mut().find(|by| by.site == site) {
                                by.bundle = told.bundle;
                            }
                            opened.insert(site, told.hits);
                        }
                        Err(_) => {
                            answered.retain(|by| by.site != site);
                            missing.push((site, Missing::Faulty));
                        }
                    }
                }
                let hits = search.document().wanted.hits().map_or(0, |(hits, _)| hits);
                Told::Disclosed(disclosed(opened, hits))
            }
        };
        SearchOutcome {
            search: digest,
            told,
            answered,
            refused,
            missing,
        }
    }

    /// Takes leave; the other side would wait for the idle limit.
    pub async fn close(self) {
        self.session.close().await;
    }
}
