//! A token to scale: what ran in each cell of each row.

use slmscope_profiles::op::OpBatch;
use slmscope_profiles::plan::site::OpSite;

use crate::dashboard::screens::live::parts::{PARTS, part_of};

/// Most layers that have rows, against a damaged record.
const MAX_LAYERS: usize = 1000;

/// A row of the waterfall: what was before the first layer, a layer, or what came after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its ops' time, ns.
    pub ns: u64,
    /// For each cell the part of [`PARTS`] that took most of its time; `None` where no op ran for most of it.
    pub cells: Vec<Option<usize>>,
}

/// Rows of a token.
pub fn count(sites: &[OpSite]) -> usize {
    sites.iter().filter_map(|site| site.layer).max().map_or(1, |last| (last as usize).min(MAX_LAYERS) + 3)
}

/// The row of a site.
fn row_of(site: &OpSite, seen_layers: bool, rows: usize) -> usize {
    match site.layer {
        Some(layer) => (layer as usize + 1).min(rows.saturating_sub(1)),
        None if seen_layers => rows.saturating_sub(1),
        None => 0,
    }
}

/// Where an op of a token lies: its site, and begin and end from the token's begin, ns.
pub fn placed<'a>(token: &'a OpBatch, sites: &'a [OpSite]) -> impl Iterator<Item = (&'a OpSite, u64, u64)> {
    let tick = u64::from(token.head.tick_ns);
    let mut at = 0_u64;
    token.events.iter().filter_map(move |event| {
        let begin = at.saturating_add(u64::from(event.gap) * tick);
        at = begin.saturating_add(u64::from(event.duration) * tick);
        Some((sites.get(usize::from(event.site))?, begin, at))
    })
}

/// The rows of a token; cells cover `begin` to `end`, ns from the token's begin.
pub fn rows(token: &OpBatch, sites: &[OpSite], (begin, end): (f64, f64), width: usize) -> Vec<Row> {
    let count = count(sites);
    let name = |row: usize| match row {
        0 => "before".to_owned(),
        row if row + 1 == count => "after".to_owned(),
        row => format!("layer {}", row - 1),
    };
    let mut rows: Vec<Row> =
        (0..count).map(|row| Row { name: name(row), ns: 0, cells: vec![None; width] }).collect();
    let cell_ns = (end - begin) / width.max(1) as f64;
    let mut times = vec![[0_f32; PARTS]; count * width];
    let mut seen_layers = false;
    for (site, from, to) in placed(token, sites) {
        seen_layers |= site.layer.is_some();
        let row = row_of(site, seen_layers, count);
        rows[row].ns = rows[row].ns.saturating_add(to - from);
        if cell_ns <= 0.0 {
            continue;
        }
        let (from, to) = ((from as f64 - begin) / cell_ns, (to as f64 - begin) / cell_ns);
        let (from, to) = (from.clamp(0.0, width as f64), to.clamp(0.0, width as f64));
        for cell in from as usize..(to.ceil() as usize).min(width) {
            let covered = to.min((cell + 1) as f64) - from.max(cell as f64);
            times[row * width + cell][part_of(site)] += covered as f32;
        }
    }
    for (at, times) in times.into_iter().enumerate() {
        let (part, most) = times
            .iter()
            .enumerate()
            .fold((0, 0.0), |best, (part, &time)| if time > best.1 { (part, time) } else { best });
        // A row's cell that is mostly another row's is empty, and so is one in which nothing ran.
        if times.iter().sum::<f32>() >= 0.5 && most > 0.0 {
            rows[at / width].cells[at % width] = Some(part);
        }
    }
    rows
}
