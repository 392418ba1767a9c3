//! Whether a write-ahead log that a killed process left behind is damaged.
//!
//! `SQLite` reads such a log up to the first frame that doesn't match its checksum and forgets the rest
//! without a word. That is right for the last commit, which was being written; commits behind it were
//! acknowledged and are lost, which has to be told. Format: <https://sqlite.org/fileformat2.html#walformat>.

const HEADER: usize = 32;
const FRAME: usize = 24;

/// The words that checksums are of and made of.
type Sums = (u32, u32);

/// How many words of a log are read: as the machine that wrote it keeps them.
#[derive(Clone, Copy)]
struct Words {
    little: bool,
}

/// Whether commits lie behind a part that can't be read. Damage to the last commit alone can't be told from
/// one that was being written.
pub(super) fn is_damaged(log: &[u8]) -> bool {
    let Some((header, frames)) = log.split_at_checked(HEADER) else { return false };
    let page = big(header, 8) as usize;
    let words = Words { little: big(header, 0) & 1 == 0 };
    let sums = words.add((0, 0), &header[..24]);
    if sums != (big(header, 24), big(header, 28)) || !(512..=65536).contains(&page) {
        return frames.iter().any(|byte| *byte != 0);
    }
    let salt = &header[16..24];
    let frames = || frames.chunks_exact(FRAME + page);
    let whole = whole(frames(), words, sums, salt);
    let commits = frames().skip(whole).filter(|frame| &frame[8..16] == salt && big(frame, 4) != 0).count();
    commits > 1
}

/// How many frames match their checksums.
fn whole<'a>(frames: impl Iterator<Item = &'a [u8]>, words: Words, mut sums: Sums, salt: &[u8]) -> usize {
    let matching = frames.take_while(|frame| {
        sums = words.add(words.add(sums, &frame[..8]), &frame[FRAME..]);
        &frame[8..16] == salt && sums == (big(frame, 16), big(frame, 20))
    });
    matching.count()
}

impl Words {
    fn add(self, sums: Sums, bytes: &[u8]) -> Sums {
        bytes.chunks_exact(8).fold(sums, |(a, b), pair| {
            let a = a.wrapping_add(self.word(pair, 0)).wrapping_add(b);
            (a, b.wrapping_add(self.word(pair, 4)).wrapping_add(a))
        })
    }

    fn word(self, bytes: &[u8], at: usize) -> u32 {
        let word = big(bytes, at);
        if self.little { word.swap_bytes() } else { word }
    }
}

fn big(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
}
