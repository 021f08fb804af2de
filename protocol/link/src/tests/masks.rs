//! Masks of sketches: they cancel over all sites, hide each, and take no key that a site did not sign.

use consilium_protocol::message::SketchKey;
use consilium_protocol::{Digest, Role, SiteName};
use proptest::prelude::*;

use super::{Consortium, now};
use crate::{Credentials, IdentityError, LinkageKey, MaskError, MaskKey, SiteKeys};

const SITES: [&str; 5] = ["basel", "cleveland", "hungarian", "va", "zurich"];

fn query() -> Digest {
    Digest::of(b"how many patients")
}

fn names(sites: &[Credentials]) -> Vec<SiteName> {
    let name = |site: &Credentials| site.identity().name.clone().into();
    sites.iter().map(name).collect()
}

/// So many sites, in the order of their names.
fn sites(consortium: &Consortium, count: usize) -> Vec<Credentials> {
    let site = |name: &&str| consortium.member(Role::Site, name);
    SITES[..count].iter().map(site).collect()
}

/// Each site's key, and what it says of it.
fn keys(sites: &[Credentials], linkage: &LinkageKey) -> (Vec<MaskKey>, Vec<SketchKey>) {
    let made = sites.iter().map(|site| {
        let key = MaskKey::generate(query()).unwrap();
        let said = key.signed(site, linkage).unwrap();
        (key, said)
    });
    made.unzip()
}

fn prove(
    consortium: &Consortium,
    sites: &[Credentials],
    said: &[SketchKey],
) -> Result<SiteKeys, MaskError> {
    let anchor = consortium.authority.anchor();
    SiteKeys::prove(query(), names(sites), said, anchor, now())
}

/// Every site's table under its masks.
fn masked(tables: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let consortium = Consortium::new();
    let linkage = LinkageKey::generate().unwrap();
    let sites = sites(&consortium, tables.len());
    let (own, said) = keys(&sites, &linkage);
    let keys = prove(&consortium, &sites, &said).unwrap();
    let each = own.into_iter().zip(names(&sites)).zip(tables);
    each.map(|((key, site), table)| {
        let mut bits = table.clone();
        key.mask(&site, &keys, &linkage, &mut bits).unwrap();
        bits
    })
    .collect()
}

fn sum(tables: &[Vec<u8>]) -> Vec<u8> {
    let mut sum = vec![0; tables[0].len()];
    for table in tables {
        sum.iter_mut().zip(table).for_each(|(sum, bit)| *sum ^= bit);
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the tables and however many sites: the sum of the masked is the sum of the open ones, and without any
    /// one site it is not.
    #[test]
    fn masks_cancel_over_all_sites_and_over_no_fewer(
        count in 2_usize..=5,
        seed in any::<u8>(),
        bytes in 16_usize..200,
    ) {
        let table = |site: usize| (0..bytes).map(move |at| seed.wrapping_mul(31).wrapping_add((at * (site + 3)) as u8));
        let tables: Vec<Vec<u8>> = (0..count).map(|site| table(site).collect()).collect();
        let masked = masked(&tables);
        prop_assert_eq!(sum(&masked), sum(&tables));
        for left_out in 0..count {
            let without = |tables: &[Vec<u8>]| {
                let mut tables = tables.to_vec();
                tables.remove(left_out);
                sum(&tables)
            };
            // 128 bits that are equal by chance: once in 10³⁸.
            prop_assert_ne!(without(&masked), without(&tables));
        }
    }
}

/// An empty table and a full one look alike: each bit is a fair coin. χ² of one degree of freedom, α = 1e-6: 23.9;
/// and so is whether two bits in a row are the same.
#[test]
fn what_one_site_sends_is_uniform_whatever_it_holds() {
    for table in [vec![0_u8; 20_000], vec![255; 20_000]] {
        let sent = masked(&[table, vec![0; 20_000]]).remove(0);
        let bits: Vec<bool> = sent
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
            .collect();
        let fair = |ones: usize, of: usize| {
            let half = of as f64 / 2.0;
            let chi2 = 2.0 * (ones as f64 - half).powi(2) / half;
            assert!(chi2 < 23.9, "{ones} of {of}");
        };
        fair(bits.iter().filter(|bit| **bit).count(), bits.len());
        let same = bits.windows(2).filter(|two| two[0] == two[1]).count();
        fair(same, bits.len() - 1);
    }
}

#[test]
fn two_questions_are_never_under_one_mask() {
    let zeros = [vec![0_u8; 64], vec![0; 64]];
    assert_ne!(masked(&zeros)[0], masked(&zeros)[0]);
}

/// Whoever passes keys on can put none of its own in: neither an unsigned one, nor one that another member signed, nor
/// the site's own for another query.
#[test]
fn a_key_that_its_site_did_not_sign_for_this_query_is_refused() {
    let consortium = Consortium::new();
    let linkage = LinkageKey::generate().unwrap();
    let sites = sites(&consortium, 2);
    let (_, said) = keys(&sites, &linkage);
    assert!(prove(&consortium, &sites, &said).is_ok());
    let swapped = |key: SketchKey| prove(&consortium, &sites, &[said[0].clone(), key]);

    let mut other_key = said[1].clone();
    other_key.public_key = MaskKey::generate(query()).unwrap().public();
    let identity = |error| matches!(error, Err(MaskError::Identity(IdentityError::BadSignature)));
    assert!(identity(swapped(other_key)));

    let mut other_linkage = said[1].clone();
    other_linkage.linkage[0] ^= 1;
    assert!(identity(swapped(other_linkage)));

    let for_another_query = MaskKey::generate(Digest::of(b"another")).unwrap();
    assert!(identity(swapped(
        for_another_query.signed(&sites[1], &linkage).unwrap()
    )));

    let researcher = consortium.member(Role::Researcher, SITES[1]);
    let by_researcher = MaskKey::generate(query())
        .unwrap()
        .signed(&researcher, &linkage);
    assert!(matches!(
        swapped(by_researcher.unwrap()),
        Err(MaskError::Identity(IdentityError::WrongRole { .. }))
    ));

    let foreign = Consortium::new().member(Role::Site, SITES[1]);
    let by_foreign = MaskKey::generate(query())
        .unwrap()
        .signed(&foreign, &linkage);
    assert!(matches!(
        swapped(by_foreign.unwrap()),
        Err(MaskError::Identity(IdentityError::Foreign))
    ));
}

#[test]
fn keys_are_one_of_each_site_that_is_named() {
    let consortium = Consortium::new();
    let linkage = LinkageKey::generate().unwrap();
    let all = sites(&consortium, 3);
    let (mut own, said) = keys(&all, &linkage);
    let other_sites =
        |said: &[SketchKey]| matches!(prove(&consortium, &all, said), Err(MaskError::OtherSites));
    assert!(other_sites(&said[..2]));
    assert!(other_sites(&[]));
    assert!(other_sites(&[&said[..], &said[..1]].concat()));
    let two = [said[0].clone(), said[1].clone(), said[1].clone()];
    assert!(other_sites(&two));
    // A site whose own key was left out of what it is shown masks nothing.
    let pair = prove(&consortium, &all[..2], &said[..2]).unwrap();
    let third = own
        .remove(2)
        .mask(&names(&all)[2], &pair, &linkage, &mut [0; 8]);
    assert!(matches!(third, Err(MaskError::OtherSites)));
}

#[test]
fn a_site_with_another_linkage_key_is_named() {
    let consortium = Consortium::new();
    let sites = sites(&consortium, 2);
    let (_, mut said) = keys(&sites, &LinkageKey::generate().unwrap());
    let (_, others) = keys(&sites, &LinkageKey::generate().unwrap());
    said[1] = others[1].clone();
    match prove(&consortium, &sites, &said) {
        Err(MaskError::OtherLinkage { site }) => assert_eq!(site.as_str(), SITES[1]),
        other => panic!("{other:?}"),
    }
}

/// The authority's key lies at the coordinator. It can make a certificate in a site's name and agree with another site
/// on a stream; without the linkage key it is not the stream of the mask.
#[test]
fn a_forged_certificate_takes_no_mask_off_without_the_linkage_key() {
    let consortium = Consortium::new();
    let linkage = LinkageKey::generate().unwrap();
    let site = consortium.member(Role::Site, SITES[0]);
    let forged = consortium.member(Role::Site, SITES[1]);
    let both = [site, forged];
    let (mut own, said) = keys(&both, &linkage);
    let keys = prove(&consortium, &both, &said).unwrap();
    let table = vec![0_u8; 64];
    let mut sent = table.clone();
    let forgers = own.pop().unwrap();
    own.pop()
        .unwrap()
        .mask(&names(&both)[0], &keys, &linkage, &mut sent)
        .unwrap();
    // The forger saw the linkage key's name on the wire, and has another key of its own making.
    let guessed = LinkageKey::generate().unwrap();
    let stream = forgers
        .stream(&names(&both)[1], &keys, &guessed, 64)
        .unwrap();
    assert_ne!(*stream, sent);
    assert_ne!(sent, table);
}
