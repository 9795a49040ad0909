//! Rounds in turns, and what is made of them.

use serde_json::{Value, json};

use super::front::Front;
use super::tools::cpu_micros;

/// One figure of each front in each round, in the fronts' order; less is better.
pub(super) struct Rounds {
    names: Vec<&'static str>,
    figures: Vec<Vec<f64>>,
}

impl Rounds {
    /// Runs `one` for each front in turns, `count` times and once more before to warm up.
    pub(super) fn run(
        fronts: &[&Front],
        count: usize,
        mut one: impl FnMut(&Front) -> Result<f64, String>,
    ) -> Result<Self, String> {
        let mut figures = vec![Vec::new(); fronts.len()];
        for round in 0..=count {
            for (front, figures) in fronts.iter().zip(&mut figures) {
                let figure = one(front)?;
                if round > 0 {
                    figures.push(figure);
                }
            }
        }
        let names = fronts.iter().map(|front| front.name).collect();
        Ok(Self { names, figures })
    }

    /// Says the medians and how the first front, which is Gapless, stands to each other one.
    pub(super) fn report(&self, what: &str, unit: &str) -> Value {
        let mut out = serde_json::Map::new();
        for (name, values) in self.names.iter().zip(&self.figures) {
            let (cost, ratio) = (middle(values), self.ratio_to(values));
            let [low, median, high] = ratio;
            eprintln!(
                "{what}: {name:8} {cost:9.2} {unit}; Gapless takes {median:.2} of it ({low:.2} to {high:.2})"
            );
            let entry = json!({ "median": cost, "gapless_ratio": median, "interval": [low, high] });
            out.insert((*name).to_owned(), entry);
        }
        Value::Object(out)
    }

    /// The median of the rounds' ratios and its 95 % interval by order statistics: the ranks
    /// `n/2 ± 0.98 sqrt(n)` (Conover, Practical Nonparametric Statistics, section 3.2).
    fn ratio_to(&self, theirs: &[f64]) -> [f64; 3] {
        let pairs = self.figures[0].iter().zip(theirs);
        let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        ratios.sort_by(f64::total_cmp);
        let (count, last) = (ratios.len() as f64, ratios.len() - 1);
        let reach = 0.98 * count.sqrt();
        let low = (count / 2.0 - reach).floor().max(0.0) as usize;
        let high = ((count / 2.0 + reach).ceil() as usize).min(last);
        [ratios[low], middle(&ratios), ratios[high]]
    }
}

pub(super) fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What the front's CPU time was for each of what `work` says that it did.
pub(super) fn cost(
    front: &Front,
    work: impl FnOnce() -> Result<f64, String>,
) -> Result<f64, String> {
    let before = cpu_micros(&front.pids)?;
    let done = work()?;
    Ok((cpu_micros(&front.pids)? - before) / done)
}
