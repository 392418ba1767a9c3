//! What a broker refuses for good, and commands that nobody understands: kept with the reason, bounded, to be
//! looked at, replayed or deleted.

mod settings;

pub use settings::DeadLetterSettings;
