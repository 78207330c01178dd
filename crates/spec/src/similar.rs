//! "Did you mean": the nearest of a few known words.

/// The known word nearest to `word`, when it is near enough to be a slip.
///
/// Damerau-Levenshtein distance (optimal string alignment) of at most a third of the word's length, at least 1.
/// Ties go to the first known word. Cost is bounded by the cap of 64 characters.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded: Vec<char> =
        word.chars().take(65).flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect();
    if folded.len() > 64 || folded.is_empty() {
        return None;
    }
    let allowed = (folded.len() / 3).max(1);
    known
        .into_iter()
        .filter_map(|candidate| {
            let target: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            let far = distance(&folded, &target);
            (far <= allowed && far < target.len().max(2)).then_some((far, candidate))
        })
        .min_by_key(|&(far, _)| far)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(from != to)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_find_their_word_and_strangers_do_not() {
        let known = ["memory", "cpu", "gpu", "disk", "time_limit"];
        for (word, expected) in [
            ("memroy", Some("memory")),
            ("Memory", Some("memory")),
            ("time-limit", Some("time_limit")),
            ("gpus", Some("gpu")),
            ("cup", Some("cpu")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
