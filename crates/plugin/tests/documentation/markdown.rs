//! As much of Markdown as these documents use.

use std::collections::BTreeSet;

/// The cells of the rows of the first table below a heading, without its head.
#[track_caller]
pub(crate) fn table_below(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    // An empty cell is one blank wide.
    let wide = |row: &str| row.replace("| |", "|  |").replace("| |", "|  |");
    let cells =
        |row: &str| wide(row).trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.take_while(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

/// The first table below a heading as it is written, or nothing.
pub(crate) fn table_text_below(text: &str, heading: &str) -> String {
    let Some((_, below)) = text.split_once(&format!("\n{heading}\n")) else { return String::new() };
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|')).flat_map(|line| [line, "\n"]).collect()
}

/// What the first cells name in code.
pub(crate) fn keys_of(rows: &[Vec<String>]) -> BTreeSet<String> {
    rows.iter().flat_map(|row| code_spans(&row[0])).collect()
}

/// Everything between backticks; two of them where the code has one itself.
pub(crate) fn code_spans(text: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        rest = &rest[start..];
        let fence = "`".repeat(rest.len() - rest.trim_start_matches('`').len());
        let Some((span, after)) = rest[fence.len()..].split_once(fence.as_str()) else { break };
        spans.push(span.trim().to_owned());
        rest = after;
    }
    spans
}

pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("```{language}\n");
    let starts: Vec<_> = text.match_indices(&fence).map(|(at, _)| at + fence.len()).collect();
    starts.into_iter().filter_map(|at| text[at..].split("```").next())
}

pub(crate) fn without_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// A heading as the anchor that hosts of repositories make of it.
pub(crate) fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}
