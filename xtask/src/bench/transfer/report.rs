//! The figures of a cell, and what the project promises of them.

use super::{
    Direction,
    cell::{Cell, Runs, Way},
    link::Link,
    site::Mode,
    studies::Size,
};

/// The line's payload at 200 Mbit/s, MB/s.
const NARROW_LINE: f64 = 25.0;
/// The most memory that the gateway may take for itself, MB.
const OWN_MEMORY: f64 = 160.0;

const HEAD: &str = "                                 s    MB/s  ×Direct   ×limit Orthanc CPU store CPU  conn.   req.  peak MB  HTTP
                                                                    s/GB      s/GB";

/// Prints a cell.
pub(super) fn print(cell: &Cell) {
    let direction = match cell.direction {
        Direction::Stow => "STOW",
        Direction::Wado => "WADO",
    };
    println!("\n{direction} of {}; link: {}", cell.study, cell.link);
    println!("{HEAD}");
    let (direct, limit) = (cell.rate(is_direct), cell.limit());
    for runs in &cell.runs {
        if let Some(error) = &runs.failure {
            println!(
                "{:26}  failed: {}",
                runs.way.name(),
                error.to_string().lines().next().unwrap_or_default()
            );
            continue;
        }
        line(cell, runs, direct, limit);
    }
}

fn line(cell: &Cell, runs: &Runs, direct: Option<f64>, limit: Option<f64>) {
    let rate = cell.rate(|way| way == runs.way);
    let ratio = |other: Option<f64>| rate.zip(other).map(|(rate, other)| rate / other);
    let a_gigabyte = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e9 / count(cell.bytes));
    println!(
        "{:26}{}{}{}{}{}{}{}{}{}  {}",
        runs.way.name(),
        shown(runs.median(|figures| Some(figures.seconds)), 8, 2),
        shown(rate, 8, 0),
        shown(ratio(direct), 9, 2),
        shown(ratio(limit), 9, 2),
        shown(a_gigabyte(runs.median(|figures| figures.cpu)), 12, 1),
        shown(a_gigabyte(runs.median(|figures| figures.cpu_of_store)), 10, 1),
        shown(runs.median(|figures| figures.connections.map(|number| count(number as u64))), 7, 0),
        shown(runs.median(|figures| figures.requests.map(|number| count(number as u64))), 7, 0),
        shown(peak(runs), 9, 0),
        runs.figures.last().map_or("", |figures| figures.version.as_str()),
    );
}

/// Prints whether the promises hold.
pub(super) fn verdicts(cells: &[Cell]) {
    println!("\nWhat the gateway promises");
    let mut none = true;
    for cell in cells {
        for runs in cell.runs.iter().filter(|runs| is_gateway(runs.way)) {
            none = false;
            for promise in promises(cell, runs) {
                println!(
                    "{:?} {:?}, {}, {}: {promise}",
                    cell.direction,
                    cell.size,
                    cell.link,
                    runs.way.name()
                );
            }
        }
    }
    if none {
        println!("was not measured: the transports did not include it.");
    }
}

/// One line for each promise, with its figures.
fn promises(cell: &Cell, runs: &Runs) -> Vec<String> {
    let rate = cell.rate(|way| way == runs.way);
    let (direct, limit) = (cell.rate(is_direct), cell.limit());
    let of = |share: f64, other: Option<f64>, what: &str| {
        let known = rate.zip(other);
        let holds = known.map(|(rate, other)| rate >= share * other);
        format!("at least {share:.2} of {what} ({}): {}", ratio(known), word(holds))
    };
    let mut lines = match cell.link {
        Link::Loopback => vec![of(0.9, direct, "Direct")],
        Link::Far => vec![of(0.9, limit, "the smallest of bound and Orthanc's own")],
        Link::Narrow => vec![of(0.95, direct, "Direct")],
    };
    if cell.link == Link::Narrow && cell.size == Size::Ct {
        lines.push(of(0.9, Some(NARROW_LINE), "the line"));
    }
    let direct = cell.runs.iter().find(|runs| is_direct(runs.way)).and_then(peak);
    let own = peak(runs).zip(direct).map(|(gateway, direct)| gateway - direct);
    let figure = own.map_or("?".to_owned(), |own| format!("{own:+.0}"));
    let holds = own.map(|own| own <= OWN_MEMORY);
    lines.push(format!("at most {OWN_MEMORY} MB more memory than Direct ({figure}): {}", word(holds)));
    lines
}

fn ratio(of: Option<(f64, f64)>) -> String {
    of.map_or("?".to_owned(), |(rate, other)| format!("{rate:.0} of {other:.0} MB/s, {:.2}", rate / other))
}

fn word(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "DOES NOT HOLD",
        None => "unknown, since not all of it was measured",
    }
}

/// MB.
fn peak(runs: &Runs) -> Option<f64> {
    runs.median(|figures| figures.peak.map(|bytes| count(bytes) / 1e6))
}

fn is_direct(way: Way) -> bool {
    way == Way::Orthanc(Mode::Direct)
}

fn is_gateway(way: Way) -> bool {
    matches!(way, Way::Orthanc(Mode::Gateway | Mode::GatewayHttp2))
}

fn shown(figure: Option<f64>, width: usize, digits: usize) -> String {
    figure.map_or_else(|| format!("{:>width$}", "–"), |figure| format!("{figure:>width$.digits$}"))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}
