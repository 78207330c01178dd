//! Search for parameters: a space of them, ways through it, and the scores found.
//!
//! Pure: what a candidate is worth is asked of the caller, a batch at a time, so that the caller may use as many
//! threads as it likes. Same space, method and seed, same candidates as long as the scores are the same.

mod cma;
mod space;

pub use cma::Cma;
pub use space::{Param, ParamError, Value};

use crate::random::Random;
use std::collections::BTreeMap;

/// A choice of a value for each parameter, in the order of the space.
pub type Candidate = Vec<Value>;

/// Says what candidates are worth, in their order; lower is better, `None`: it cannot be said.
pub type Evaluate<'a, E> = dyn FnMut(&[Candidate]) -> Result<Vec<Option<f64>>, E> + 'a;

/// A way through a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Every combination of so many values of each parameter, evenly spread, both ends included; of words all.
    Grid {
        /// Values of each parameter of numbers, at least 1.
        steps: u32,
    },
    /// So many candidates by chance, each parameter evenly (evenly by logarithm on a logarithmic scale).
    Random {
        /// Candidates.
        count: u32,
    },
    /// [`Cma`], up to so many candidates. Parameters must be numbers.
    Cma {
        /// Candidates.
        count: u32,
    },
}

/// A candidate and what it was worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The choice.
    pub candidate: Candidate,
    /// Its score; lower is better. `None`: it could not be evaluated.
    pub score: Option<f64>,
}

/// What makes a search impossible.
#[derive(Debug, thiserror::Error)]
pub enum SearchError<E> {
    /// Nothing to search.
    #[error("no parameter is named; name one, for example plan.ranking.base=2..16:log")]
    NoParameter,
    /// CMA-ES knows numbers only.
    #[error("`{0}` is a list of words, and CMA-ES searches numbers; use a grid or random candidates")]
    Words(String),
    /// A grid with more points than anyone waits for.
    #[error("the grid has more than {0} points; take fewer steps or parameters, or random candidates")]
    GridTooLarge(usize),
    /// The caller gave up.
    #[error(transparent)]
    Evaluation(E),
}

/// The most points of a grid.
const MOST_POINTS: usize = 100_000;
/// Candidates that are handed over at once when all are known from the start.
const BATCH: usize = 64;

/// Looks for the candidate with the lowest score. Every candidate is evaluated once; the trials come back in the order
/// in which they were first tried.
///
/// # Errors
/// A space that the method cannot search, or whatever `evaluate` says.
pub fn search<E>(
    space: &[Param],
    method: Method,
    seed: u64,
    evaluate: &mut Evaluate<'_, E>,
) -> Result<Vec<Trial>, SearchError<E>> {
    if space.is_empty() {
        return Err(SearchError::NoParameter);
    }
    let mut known = Known { trials: Vec::new(), place: BTreeMap::new(), evaluate };
    match method {
        Method::Grid { steps } => {
            let points = grid(space, steps).ok_or(SearchError::GridTooLarge(MOST_POINTS))?;
            points.chunks(BATCH).try_for_each(|batch| known.scores(batch).map(drop))?;
        }
        Method::Random { count } => {
            let mut chance = Random::new(seed, "candidates");
            let points: Vec<Candidate> =
                (0..count).map(|_| space.iter().map(|param| param.value(chance.unit())).collect()).collect();
            points.chunks(BATCH).try_for_each(|batch| known.scores(batch).map(drop))?;
        }
        Method::Cma { count } => {
            if let Some(words) = space.iter().find(|param| !param.is_number()) {
                return Err(SearchError::Words(words.name().to_owned()));
            }
            let mut cma = Cma::new(&vec![0.5; space.len()], 0.3, seed);
            let mut asked = 0;
            while asked < count && !cma.is_done() {
                let points = cma.ask();
                asked += u32::try_from(points.len()).unwrap_or(u32::MAX);
                let batch: Vec<Candidate> = points
                    .iter()
                    .map(|point| space.iter().zip(point).map(|(param, &part)| param.value(part)).collect())
                    .collect();
                let scores = known.scores(&batch)?;
                cma.tell(&scores.iter().map(|score| score.unwrap_or(f64::INFINITY)).collect::<Vec<_>>());
            }
        }
    }
    Ok(known.trials)
}

/// Trials so far, so that nothing is evaluated twice.
struct Known<'a, E> {
    trials: Vec<Trial>,
    place: BTreeMap<Candidate, usize>,
    evaluate: &'a mut Evaluate<'a, E>,
}

impl<E> Known<'_, E> {
    fn scores(&mut self, batch: &[Candidate]) -> Result<Vec<Option<f64>>, SearchError<E>> {
        let mut new: Vec<Candidate> = Vec::new();
        for candidate in batch {
            if !self.place.contains_key(candidate) {
                self.place.insert(candidate.clone(), self.trials.len() + new.len());
                new.push(candidate.clone());
            }
        }
        let scores = (self.evaluate)(&new).map_err(SearchError::Evaluation)?;
        let scores = scores.into_iter().map(|score| score.filter(|score| score.is_finite()));
        self.trials.extend(new.into_iter().zip(scores).map(|(candidate, score)| Trial { candidate, score }));
        Ok(batch.iter().map(|candidate| self.trials[self.place[candidate]].score).collect())
    }
}

/// Every combination, the last parameter fastest; `None`: too many.
fn grid(space: &[Param], steps: u32) -> Option<Vec<Candidate>> {
    let mut points: Vec<Candidate> = vec![Vec::new()];
    for param in space {
        let values = param.steps(steps);
        if points.len() * values.len() > MOST_POINTS {
            return None;
        }
        points = points
            .into_iter()
            .flat_map(|point| values.iter().map(move |value| point.iter().chain([value]).cloned().collect()))
            .collect();
    }
    Some(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn space(texts: &[&str]) -> Vec<Param> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn number(value: &Value) -> f64 {
        match value {
            Value::Number(number) => *number as f64,
            Value::Span(_) | Value::Word(_) => f64::NAN,
        }
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let mut batches = Vec::new();
        let trials = search(&space(&["a=1..3", "b=x|y"]), Method::Grid { steps: 9 }, 1, &mut |batch| {
            batches.push(batch.len());
            Ok::<_, Infallible>(batch.iter().map(|candidate| Some(number(&candidate[0]))).collect())
        })
        .unwrap();
        let shown: Vec<String> =
            trials.iter().map(|trial| format!("{}{}", trial.candidate[0], trial.candidate[1])).collect();
        assert_eq!(shown, ["1x", "1y", "2x", "2y", "3x", "3y"]);
        assert_eq!(batches, [6]);
    }

    #[test]
    fn random_candidates_follow_the_seed_and_are_tried_once() {
        let tried = |seed| {
            search(&space(&["a=1..1000:log"]), Method::Random { count: 200 }, seed, &mut |batch| {
                Ok::<_, Infallible>(vec![Some(0.0); batch.len()])
            })
            .unwrap()
        };
        assert_eq!(tried(1), tried(1));
        assert_ne!(tried(1), tried(2));
        let below = tried(1).iter().filter(|trial| number(&trial.candidate[0]) < 32.0).count();
        // By logarithm half of the draws lie below 31.6; small numbers are drawn twice and tried once.
        assert!(tried(1).len() < 200 && (20..32).contains(&below), "{below}");
    }

    #[test]
    fn cma_finds_the_best_integers_of_a_bent_valley() {
        let names = ["x=0..2000", "y=0..2000"];
        // Rosenbrock's function with its minimum at (1000, 1000), scaled to the box.
        let trials = search(&space(&names), Method::Cma { count: 2000 }, 7, &mut |batch| {
            let score = |candidate: &Candidate| {
                let (x, y) = (number(&candidate[0]) / 1000.0, number(&candidate[1]) / 1000.0);
                100.0 * (y - x * x).powi(2) + (1.0 - x).powi(2)
            };
            Ok::<_, Infallible>(batch.iter().map(|candidate| Some(score(candidate))).collect())
        })
        .unwrap();
        let best = trials.iter().filter_map(|trial| trial.score).fold(f64::INFINITY, f64::min);
        assert!(best < 1e-3, "{best} after {} trials", trials.len());
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        let none = |_batch: &[Candidate]| Ok::<_, Infallible>(Vec::new());
        let why =
            |texts: &[&str], method| search(&space(texts), method, 1, &mut { none }).unwrap_err().to_string();
        assert!(why(&[], Method::Random { count: 1 }).starts_with("no parameter is named"));
        assert!(why(&["o=fifo|sjf"], Method::Cma { count: 1 }).starts_with("`o` is a list of words"));
        assert!(
            why(&["a=0..999", "b=0..999"], Method::Grid { steps: 1000 }).starts_with("the grid has more")
        );
    }

    #[test]
    fn the_callers_error_comes_back() {
        let given_up = search(&space(&["a=1..3"]), Method::Grid { steps: 3 }, 1, &mut |_batch| Err("stop"));
        assert!(matches!(given_up, Err(SearchError::Evaluation("stop"))));
    }
}
