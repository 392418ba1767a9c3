//! The Merkle tree of RFC 6962 (section 2.1): one root for a whole trail, short proofs for one of its records.
//!
//! Knows hashes alone. Appending needs no more than the [`Frontier`], one hash per bit of the size.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf: SHA-256(00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// The hash of a node: SHA-256(01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// What is needed of a tree to append to it: the roots of the perfect trees that it consists of, the largest
/// first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Of a tree with so many leaves; `None` if that many leaves have another number of perfect trees.
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect trees, the largest first.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return empty_root() };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The hashes beside the way from a leaf to the root (RFC 6962, section 2.1.1), the lowest first; `None` if
/// there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, beside) = if index < left.len() {
        (inclusion_proof(left, index)?, root_of(right))
    } else {
        (inclusion_proof(right, index - left.len())?, root_of(left))
    };
    proof.push(beside);
    Some(proof)
}

/// The root of these leaves.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}

/// The largest power of two below.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The root that follows from a leaf and its proof (RFC 9162, section 2.1.3.2); `None` if the proof doesn't
/// fit index and size.
pub fn root_by_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(beside, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// What shows that a tree of `old` leaves is the beginning of this one (RFC 6962, section 2.1.2); `None` if it
/// has fewer.
pub fn consistency_proof(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    if old > leaves.len() {
        return None;
    }
    if old == 0 || old == leaves.len() {
        return Some(Vec::new());
    }
    Some(subproof(leaves, old, true))
}

fn subproof(leaves: &[Hash], old: usize, whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root_of(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, beside) = if old <= left.len() {
        (subproof(left, old, whole), root_of(right))
    } else {
        (subproof(right, old - left.len(), false), root_of(left))
    };
    proof.push(beside);
    proof
}

/// A root and how many leaves it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The root.
    pub root: Hash,
}

/// Whether the old tree is the beginning of the new one, as the proof says (RFC 9162, section 2.1.4.2).
pub fn is_consistent(old: Head, new: Head, proof: &[Hash]) -> bool {
    if old.size > new.size {
        return false;
    }
    if old.size == new.size || old.size == 0 {
        return proof.is_empty() && (old.size == 0 || old.root == new.root);
    }
    walk(old, new, proof) == Some((old.root, new.root))
}

/// Both roots as they follow from the proof.
fn walk(old: Head, new: Head, proof: &[Hash]) -> Option<(Hash, Hash)> {
    let mut proof = proof.iter();
    let first = if old.size.is_power_of_two() { old.root } else { *proof.next()? };
    let (mut node, mut last) = (old.size - 1, new.size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut before, mut after) = (first, first);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            before = node_hash(beside, &before);
            after = node_hash(beside, &after);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            after = node_hash(&after, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((before, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// The definition of RFC 6962, section 2.1, word by word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(split(many.len()));
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The leaves and roots that the reference implementation of Certificate Transparency tests with.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<_> = inputs.iter().map(|data| leaf_hash(data)).collect();
        for (count, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex(&root_of(&leaves[..count])), root, "{count}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_frontier_has_the_root_that_the_definition_has(count in 0usize..300) {
            let leaves = leaves(count);
            prop_assert_eq!(root_of(&leaves), defined(&leaves));
        }

        #[test]
        fn every_leaf_can_be_proven_and_no_other_in_its_place(count in 1usize..200, index in 0usize..200) {
            let (leaves, index) = (leaves(count), index % count);
            let proof = inclusion_proof(&leaves, index).unwrap();
            let root = |leaf, index: usize, proof: &[Hash]| root_by_inclusion(leaf, index as u64, count as u64, proof);
            prop_assert_eq!(root(leaves[index], index, &proof), Some(defined(&leaves)));
            prop_assert_ne!(root(leaf_hash(b"other"), index, &proof), Some(defined(&leaves)));
            if let Some(shorter) = proof.split_last().map(|(_, rest)| rest) {
                prop_assert_ne!(root(leaves[index], index, shorter), Some(defined(&leaves)));
            }
            let elsewhere = (index + 1) % count;
            prop_assert!(elsewhere == index || root(leaves[index], elsewhere, &proof) != Some(defined(&leaves)));
        }

        #[test]
        fn what_was_appended_to_is_consistent_and_what_was_changed_is_not(count in 1usize..200, old in 0usize..200) {
            let (leaves, old) = (leaves(count), old % (count + 1));
            let proof = consistency_proof(&leaves, old).unwrap();
            let before = Head { size: old as u64, root: defined(&leaves[..old]) };
            let after = Head { size: count as u64, root: defined(&leaves) };
            prop_assert!(is_consistent(before, after, &proof));
            if old > 0 {
                let changed = Head { root: leaf_hash(b"changed"), ..before };
                prop_assert!(!is_consistent(changed, after, &proof));
                let elsewhere = Head { root: leaf_hash(b"changed"), ..after };
                prop_assert!(!is_consistent(before, elsewhere, &proof));
            }
        }

        #[test]
        fn a_frontier_goes_on_from_its_parts(count in 0usize..100) {
            let mut whole = Frontier::default();
            for leaf in leaves(count) {
                whole.append(leaf);
            }
            let mut again = Frontier::from_parts(whole.size(), whole.roots().to_vec()).unwrap();
            for frontier in [&mut whole, &mut again] {
                frontier.append(leaf_hash(b"next"));
            }
            prop_assert_eq!(whole.root(), again.root());
        }
    }
}
