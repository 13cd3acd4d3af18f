//! Figures side by side, and the bounds that they are held against.

use super::CONFIGURATIONS;

/// One measure: a figure for each of [`CONFIGURATIONS`], in their order.
pub(super) struct Row {
    /// What is measured, with its unit.
    pub(super) name: &'static str,
    /// Digits after the point.
    pub(super) digits: usize,
    /// The figures, in the unit of the name.
    pub(super) figures: Vec<f64>,
    /// What 100 accounts may cost more than no plugin.
    pub(super) bound: Option<f64>,
}

/// Prints the figures without the plugin as they are, the others as differences to them, and whether the bounds hold.
pub(super) fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let heads = CONFIGURATIONS.map(|accounts| match accounts {
        None => "no plugin".to_owned(),
        Some(accounts) => format!("{accounts} acc."),
    });
    let heads: Vec<String> = heads.iter().map(|head| format!("{head:>10}")).collect();
    println!("{:width$} {}   bound for 100 accounts", "", heads.join(" "));
    for Row { name, digits, figures, bound } in rows {
        let without = figures.first().copied().unwrap_or_default();
        let shown = figures.iter().enumerate().map(|(index, figure)| match index {
            0 => format!("{figure:10.digits$}"),
            _ => format!("{:>+10.digits$}", figure - without),
        });
        let verdict = match (bound, figures.last()) {
            (Some(bound), Some(last)) => {
                let word = if last - without <= *bound { "holds" } else { "DOES NOT HOLD" };
                format!("   at most {bound}: {word}")
            }
            _ => String::new(),
        };
        println!("{name:width$} {}{verdict}", shown.collect::<Vec<_>>().join(" "));
    }
}
