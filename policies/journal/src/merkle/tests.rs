//! The tree against RFC 6962's own vectors and against another implementation, `ct-merkle`.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::JournalError;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

/// The chain hashes of a made-up journal.
fn entries(count: u64) -> Vec<Digest> {
    (0..count)
        .map(|seq| Digest::of(&seq.to_le_bytes()))
        .collect()
}

fn tree(entries: &[Digest]) -> Tree {
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.push(*entry));
    tree
}

fn oracle(entries: &[Digest]) -> Oracle {
    let mut oracle = Oracle::new();
    entries
        .iter()
        .for_each(|entry| oracle.push(entry.0.to_vec()));
    oracle
}

/// Leaves as the segments would give them.
fn from_disk(
    entries: &[Digest],
) -> impl FnMut(std::ops::Range<u64>) -> Result<Vec<Digest>, JournalError> {
    move |seqs| {
        let seqs = seqs.start as usize..seqs.end as usize;
        Ok(entries[seqs].iter().copied().map(leaf_hash).collect())
    }
}

fn concatenated(path: &[Digest]) -> Vec<u8> {
    path.iter().flat_map(|digest| digest.0).collect()
}

/// The trees of Certificate Transparency's reference tests hold other data than digests, so they are checked through
/// the two hashes that the tree is made of.
#[test]
fn the_reference_roots_of_certificate_transparency() {
    let leaves = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaf_hashes: Vec<Digest> = leaves
        .iter()
        .map(|hex| {
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            Digest::of_parts(&[&[0], &bytes])
        })
        .collect();
    fn root(leaves: &[Digest]) -> Digest {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(root(left), root(right))
            }
        }
    }
    for (count, expected) in (1..).zip(roots) {
        assert_eq!(root(&leaf_hashes[..count]).to_string(), expected);
    }
    assert_eq!(
        Tree::default().root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn every_small_tree_and_every_path_in_it_is_that_of_the_oracle() {
    let entries = entries(40);
    for size in 1..=40_u64 {
        let all = &entries[..size as usize];
        let (tree, oracle) = (tree(all), oracle(all));
        let root = tree.root();
        assert_eq!(root.0, oracle.root().as_bytes()[..]);
        for seq in 0..size {
            let proof = tree
                .prove_inclusion(seq, size, &mut from_disk(all))
                .unwrap();
            let expected = oracle.prove_inclusion(seq as usize);
            assert_eq!(concatenated(proof.path()), expected.as_bytes());
            assert_eq!(proof.verify(all[seq as usize], seq, size, root), Ok(()));
        }
        for old in 1..=size {
            let proof = tree
                .prove_consistency(old, size, &mut from_disk(all))
                .unwrap();
            let expected = oracle.prove_consistency((size - old) as usize);
            assert_eq!(concatenated(proof.path()), expected.as_bytes());
            let old_root = tree.root_at(old, &mut from_disk(all)).unwrap();
            assert_eq!(proof.verify((old, old_root), (size, root)), Ok(()));
        }
    }
}

#[test]
fn a_tree_that_has_let_its_old_leaves_go_reads_them_again() {
    let entries = entries(20_000);
    let (part, size) = (&entries[..12_345], 12_345);
    let then = tree(part).root();
    let (tree, oracle) = (tree(&entries), oracle(&entries));
    assert!(tree.recent_from() > 10_000);
    for seq in [0, 1, 255, 256, 4_095, 9_999, 11_904, 19_999] {
        let proof = tree
            .prove_inclusion(seq, 20_000, &mut from_disk(&entries))
            .unwrap();
        let expected = oracle.prove_inclusion(seq as usize);
        assert_eq!(concatenated(proof.path()), expected.as_bytes());
    }
    assert_eq!(tree.root_at(size, &mut from_disk(&entries)).unwrap(), then);
    let proof = tree
        .prove_consistency(size, 20_000, &mut from_disk(&entries))
        .unwrap();
    let verified = proof.verify((size, then), (20_000, tree.root()));
    assert_eq!(verified, Ok(()));
}

#[test]
fn what_is_beyond_the_tree_is_an_error() {
    let all = entries(5);
    let tree = tree(&all);
    let read = &mut from_disk(&all);
    assert!(tree.root_at(6, read).is_err());
    assert!(tree.prove_inclusion(5, 5, read).is_err());
    assert!(tree.prove_inclusion(0, 6, read).is_err());
    assert!(tree.prove_consistency(3, 2, read).is_err());
}

proptest! {
    #[test]
    fn a_path_with_anything_changed_proves_nothing(
        size in 2_u64..300, seq in 0_u64..300, old in 1_u64..300, at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let all = entries(size);
        let (seq, old) = (seq % size, 1 + old % (size - 1));
        let tree = tree(&all);
        let root = tree.root();
        let proof = tree.prove_inclusion(seq, size, &mut from_disk(&all)).unwrap();
        let other_seq = (seq + 1) % size;
        prop_assert!(proof.verify(all[other_seq as usize], seq, size, root).is_err());
        prop_assert!(proof.verify(all[seq as usize], other_seq, size, root).is_err());
        let mut path = proof.path().to_vec();
        let place = at.index(path.len());
        path[place].0[usize::from(bit)] ^= 1 << bit;
        prop_assert!(InclusionProof::new(path.clone()).verify(all[seq as usize], seq, size, root).is_err());
        path.pop();
        prop_assert!(InclusionProof::new(path).verify(all[seq as usize], seq, size, root).is_err());

        let old_root = tree.root_at(old, &mut from_disk(&all)).unwrap();
        let proof = tree.prove_consistency(old, size, &mut from_disk(&all)).unwrap();
        prop_assert!(proof.verify((old, old_root), (size, root)).is_ok());
        prop_assert!(proof.verify((old, root), (size, root)).is_err());
        prop_assert!(proof.verify((old, old_root), (size, old_root)).is_err());
        prop_assert!(proof.verify((size, root), (old, old_root)).is_err());
        if !proof.path().is_empty() {
            let mut path = proof.path().to_vec();
            let place = at.index(path.len());
            path[place].0[usize::from(bit)] ^= 1 << bit;
            prop_assert!(ConsistencyProof::new(path).verify((old, old_root), (size, root)).is_err());
        }
    }

    #[test]
    fn no_path_makes_the_verifier_fail(
        hashes in 0_usize..80, seq in any::<u64>(), size in any::<u64>(), old in any::<u64>(),
    ) {
        let path = entries(hashes as u64);
        let any = Digest::of(b"any");
        prop_assert!(InclusionProof::new(path.clone()).verify(any, seq, size, any).is_err());
        let trivial = old == 0 || old == size;
        let verified = ConsistencyProof::new(path).verify((old, any), (size, any));
        prop_assert!(verified.is_err() || (trivial && hashes == 0));
    }
}
