//! All that waits for the disk, done in one blocking call.

use std::collections::VecDeque;

use super::{
    file::{Buried, LetterFile},
    messages::NewLetter,
    settings::DeadLetterSettings,
    stock::Stock,
};

/// Something that is done with the table, or told why it can't be.
pub(super) type Job = Box<dyn FnOnce(&mut LetterFile) -> Answer + Send>;

/// Tells whoever asked. Called when what the work did is counted: who has an answer sees the counts with it.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// All that waits.
#[derive(Default)]
pub(super) struct Work {
    pub(super) letters: Vec<NewLetter>,
    pub(super) jobs: VecDeque<Job>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) file: LetterFile,
    pub(super) buried: Result<Buried, String>,
    pub(super) stock: Option<Stock>,
    pub(super) answers: Vec<Answer>,
}

impl Work {
    pub(super) fn run(self, mut file: LetterFile, settings: &DeadLetterSettings) -> Done {
        // Without letters too, unless somebody only asks: it tells whether the disk takes anything.
        let buried = if self.letters.is_empty() && !self.jobs.is_empty() {
            Ok(Buried::default())
        } else {
            file.with(|table| table.bury(&self.letters, settings)).map_err(|error| error.to_string())
        };
        let answers = self.jobs.into_iter().map(|job| job(&mut file)).collect();
        let stock = file.with(|table| Ok(table.stock().clone())).ok();
        Done { file, buried, stock, answers }
    }
}
