//! A flag line into words, as a shell would split it: quotes, backslashes, and `#` for the rest of the line.

use crate::error::{Fault, Place, SpecError};

/// One word and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Option<Place>,
}

impl Word {
    pub(super) fn error(&self, field: &str, fault: Fault) -> SpecError {
        SpecError { place: self.place, ..SpecError::of(field, fault) }
    }
}

/// Splits what follows `#POND` or `#SBATCH`; `start` is where that is.
pub(super) fn words(line: &str, start: Place) -> Result<Vec<Word>, SpecError> {
    let mut out: Vec<Word> = Vec::new();
    let mut open: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars().enumerate();
    while let Some((offset, c)) = chars.next() {
        let column = start.column.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
        let place = Some(Place { column, ..start });
        if quote.is_none() && c == '#' && open.is_none() {
            break;
        }
        if quote.is_none() && c.is_whitespace() {
            out.extend(open.take());
            continue;
        }
        let word = open.get_or_insert_with(|| Word { text: String::new(), place });
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some('"') | None, '\\') => word.text.extend(chars.next().map(|(_, next)| next)),
            (Some(_), c) => word.text.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (None, c) => word.text.push(c),
        }
    }
    if quote.is_some() {
        let why = "a quote is opened and not closed".to_owned();
        return Err(SpecError { place: Some(start), ..SpecError::of("", Fault::BadValue { why }) });
    }
    out.extend(open);
    Ok(out)
}
