//! Covariance matrix adaptation: a search that learns the shape of the valley it is in.
//!
//! Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv 1604.00772), with its default constants and positive weights
//! only. The box `0..=1` is kept by reflection: a point outside is folded back at the edge. The tutorial adds a penalty
//! instead; folding needs no scale of the scores.
//!
//! Where not to use it: below three or four dozen evaluations (take random candidates), for words, and where
//! scores are so noisy that ranks of one generation mean nothing.

use crate::random::Random;

/// The search. Ask for a generation, tell its scores, and again.
#[derive(Clone, Debug)]
pub struct Cma {
    chance: Random,
    constants: Constants,
    mean: Vec<f64>,
    step: f64,
    path_step: Vec<f64>,
    path_shape: Vec<f64>,
    covariance: Vec<Vec<f64>>,
    /// Square roots of the eigenvalues of the covariance, and its eigenvectors as columns.
    axes: (Vec<f64>, Vec<Vec<f64>>),
    asked: Vec<Vec<f64>>,
    generation: i32,
}

#[derive(Clone, Debug)]
struct Constants {
    population: usize,
    weights: Vec<f64>,
    mu_eff: f64,
    c_step: f64,
    d_step: f64,
    c_path: f64,
    c_one: f64,
    c_mu: f64,
    /// Expected length of a standard normal vector.
    chi: f64,
}

impl Constants {
    /// The defaults of the tutorial's table 1 for `n` dimensions.
    fn new(n: f64) -> Self {
        let population = 4 + (3.0 * n.ln()).floor() as usize;
        let parents = population / 2;
        let raw: Vec<f64> =
            (1..=parents).map(|rank| ((population as f64 + 1.0) / 2.0).ln() - (rank as f64).ln()).collect();
        let sum: f64 = raw.iter().sum();
        let weights: Vec<f64> = raw.iter().map(|weight| weight / sum).collect();
        let mu_eff = 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>();
        let c_step = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let c_one = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let c_mu = 2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((n + 2.0).powi(2) + mu_eff);
        Self {
            population,
            weights,
            mu_eff,
            c_step,
            d_step: 1.0 + 2.0 * (((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + c_step,
            c_path: (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n),
            c_one,
            c_mu: c_mu.min(1.0 - c_one),
            chi: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
        }
    }
}

impl Cma {
    /// A search in the box `0..=1` of as many dimensions as `start` has, at least one; `step` is the first standard
    /// deviation: 0.3 reaches all of the box.
    #[must_use]
    pub fn new(start: &[f64], step: f64, seed: u64) -> Self {
        let n = start.len();
        Self {
            chance: Random::new(seed, "cma"),
            constants: Constants::new(n as f64),
            mean: start.to_vec(),
            step,
            path_step: vec![0.0; n],
            path_shape: vec![0.0; n],
            covariance: identity(n),
            axes: (vec![1.0; n], identity(n)),
            asked: Vec::new(),
            generation: 0,
        }
    }

    /// Whether steps have become too small to matter: a ten-thousandth of the box.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let longest = self.axes.0.iter().copied().fold(0.0, f64::max);
        self.step * longest < 1e-4
    }

    /// The next generation, in the box.
    pub fn ask(&mut self) -> Vec<Vec<f64>> {
        let n = self.mean.len();
        self.asked = (0..self.constants.population)
            .map(|_| {
                let drawn: Vec<f64> = self.axes.0.iter().map(|axis| axis * self.chance.normal()).collect();
                (0..n).map(|row| self.mean[row] + self.step * dot(&self.axes.1[row], &drawn)).collect()
            })
            .collect();
        self.asked.iter().map(|point| point.iter().copied().map(fold).collect()).collect()
    }

    /// The scores of the generation that was asked for, in its order; lower is better.
    pub fn tell(&mut self, scores: &[f64]) {
        let mut order: Vec<usize> = (0..self.asked.len().min(scores.len())).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        let Constants { ref weights, mu_eff, c_step, d_step, c_path, c_one, c_mu, chi, .. } = self.constants;
        let n = self.mean.len();
        let moves: Vec<Vec<f64>> = order
            .iter()
            .take(weights.len())
            .map(|&at| (0..n).map(|row| (self.asked[at][row] - self.mean[row]) / self.step).collect())
            .collect();
        let mean_move: Vec<f64> = (0..n)
            .map(|row| weights.iter().zip(&moves).map(|(weight, each)| weight * each[row]).sum())
            .collect();
        for (mean, each) in self.mean.iter_mut().zip(&mean_move) {
            *mean += self.step * each;
        }
        self.generation += 1;
        // C^(-1/2) · mean_move, by the axes.
        let (lengths, vectors) = &self.axes;
        let along: Vec<f64> = (0..n)
            .map(|axis| (0..n).map(|row| vectors[row][axis] * mean_move[row]).sum::<f64>() / lengths[axis])
            .collect();
        let keep = (c_step * (2.0 - c_step) * mu_eff).sqrt();
        for (row, path) in self.path_step.iter_mut().enumerate() {
            *path = (1.0 - c_step) * *path + keep * dot(&vectors[row], &along);
        }
        let length = dot(&self.path_step, &self.path_step).sqrt();
        let settled = 1.0 - (1.0 - c_step).powi(2 * self.generation);
        let stalled = length / settled.sqrt() >= (1.4 + 2.0 / (n as f64 + 1.0)) * chi;
        let reach = if stalled { 0.0 } else { (c_path * (2.0 - c_path) * mu_eff).sqrt() };
        for (path, each) in self.path_shape.iter_mut().zip(&mean_move) {
            *path = (1.0 - c_path) * *path + reach * each;
        }
        let made_up = if stalled { c_one * c_path * (2.0 - c_path) } else { 0.0 };
        for row in 0..n {
            for column in 0..=row {
                let rank_one = self.path_shape[row] * self.path_shape[column];
                let rank_mu: f64 =
                    weights.iter().zip(&moves).map(|(weight, each)| weight * each[row] * each[column]).sum();
                let value = (1.0 - c_one - c_mu + made_up) * self.covariance[row][column]
                    + c_one * rank_one
                    + c_mu * rank_mu;
                self.covariance[row][column] = value;
                self.covariance[column][row] = value;
            }
        }
        // Half of the box is as far as a step makes sense.
        self.step = (self.step * (c_step / d_step * (length / chi - 1.0)).exp()).min(0.5);
        let (values, vectors) = eigen(self.covariance.clone());
        self.axes = (values.into_iter().map(|value| value.max(1e-20).sqrt()).collect(), vectors);
    }
}

/// Folds a number into `0..=1` as a mirror at both ends does.
fn fold(x: f64) -> f64 {
    let turn = x.rem_euclid(2.0);
    if turn > 1.0 { 2.0 - turn } else { turn }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn identity(n: usize) -> Vec<Vec<f64>> {
    (0..n).map(|row| (0..n).map(|column| if row == column { 1.0 } else { 0.0 }).collect()).collect()
}

/// Eigenvalues of a symmetric matrix, and its eigenvectors as columns: Jacobi's rotations, cyclic by row (Golub and Van Loan,
/// "Matrix Computations", 8.5). Converges in a few sweeps for the dozen dimensions there are here.
fn eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.len();
    let mut vectors = identity(n);
    for _sweep in 0..50 {
        let off: f64 =
            (0..n).flat_map(|p| (0..p).map(move |q| (p, q))).map(|(p, q)| matrix[p][q].powi(2)).sum();
        if off < 1e-30 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let tau = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                let sine = tangent * cosine;
                for row in &mut matrix {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
                let (head, tail) = matrix.split_at_mut(q);
                for (a, b) in head[p].iter_mut().zip(&mut tail[0]) {
                    (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
                }
                for row in &mut vectors {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
            }
        }
    }
    ((0..n).map(|at| matrix[at][at]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best score after so many evaluations, and where it was.
    fn best(n: usize, seed: u64, most: usize, score: impl Fn(&[f64]) -> f64) -> (f64, Vec<f64>) {
        let mut cma = Cma::new(&vec![0.2; n], 0.3, seed);
        let mut best = (f64::INFINITY, Vec::new());
        let mut spent = 0;
        while spent < most && !cma.is_done() {
            let points = cma.ask();
            spent += points.len();
            assert!(points.iter().flatten().all(|part| (0.0..=1.0).contains(part)));
            let scores: Vec<f64> = points.iter().map(|point| score(point)).collect();
            for (point, &score) in points.iter().zip(&scores) {
                if score < best.0 {
                    best = (score, point.clone());
                }
            }
            cma.tell(&scores);
        }
        best
    }

    #[test]
    fn a_sphere_is_found_wherever_it_is() {
        for seed in 0..10 {
            for center in [0.5, 0.9, 0.03] {
                let sphere = |x: &[f64]| x.iter().map(|part| (part - center).powi(2)).sum();
                let (score, at) = best(5, seed, 2000, sphere);
                assert!(score < 1e-6, "seed {seed}, centre {center}: {score} at {at:?}");
            }
        }
    }

    #[test]
    fn the_best_corner_of_the_box_is_reached() {
        for seed in 0..10 {
            // Falls towards a corner: the minimum of the box is at (0, 1, 0), with the score 0.
            let (score, at) = best(3, seed, 2000, |x| x[0] + (1.0 - x[1]) + 3.0 * x[2]);
            assert!(score < 1e-3, "seed {seed}: {score} at {at:?}");
        }
    }

    #[test]
    fn a_bent_valley_is_followed() {
        // Rosenbrock's function over -2..=2 in four dimensions; it has a second, local minimum near (-1, 1, 1, 1).
        let rosenbrock = |x: &[f64]| -> f64 {
            let x: Vec<f64> = x.iter().map(|part| part * 4.0 - 2.0).collect();
            x.windows(2).map(|two| 100.0 * (two[1] - two[0] * two[0]).powi(2) + (1.0 - two[0]).powi(2)).sum()
        };
        let found = (0..10).filter(|&seed| best(4, seed, 6000, rosenbrock).0 < 1e-3).count();
        assert!(found >= 8, "{found} of 10 seeds");
    }

    #[test]
    fn a_long_narrow_valley_at_an_angle_is_learned() {
        let valley = |x: &[f64]| (x[0] + x[1] - 1.0).powi(2) * 1e4 + (x[0] - x[1] - 0.4).powi(2);
        for seed in 0..10 {
            let (score, at) = best(2, seed, 1500, valley);
            assert!(score < 1e-6 && (at[0] - 0.7).abs() < 1e-2, "seed {seed}: {score} at {at:?}");
        }
    }

    #[test]
    fn one_dimension_works_and_the_same_seed_gives_the_same_points() {
        let (score, _) = best(1, 3, 400, |x| (x[0] - 0.77).powi(2));
        assert!(score < 1e-6, "{score}");
        let points = |seed| Cma::new(&[0.5, 0.5], 0.3, seed).ask();
        assert_eq!(points(1), points(1));
        assert_ne!(points(1), points(2));
    }

    #[test]
    fn eigenvectors_take_a_matrix_apart() {
        let matrix = vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, -1.0], vec![0.5, -1.0, 2.0]];
        let (values, vectors) = eigen(matrix.clone());
        for row in 0..3 {
            for column in 0..3 {
                let back: f64 = (0..3).map(|at| vectors[row][at] * values[at] * vectors[column][at]).sum();
                assert!((back - matrix[row][column]).abs() < 1e-12);
            }
        }
    }
}
