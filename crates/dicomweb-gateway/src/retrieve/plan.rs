//! What is asked for as one stream and what one by one, and how much at once: pure decisions.
//!
//! Measured at a round trip of 40 ms: eight requests for single instances of 0.5 MB are no faster than one stream, 32 are 2.8
//! times as fast, four streams three times. Of instances of 50 kB, 32 single requests bring less than one stream.

use std::ops::RangeInclusive;

/// A series with more than so many percent of the instances is not asked for as a stream: it would go on alone when all
/// others have ended. Four series of about the same size are streams, three or one series of many are not.
const LARGEST_STREAM: u128 = 30;
/// Instances that are probably larger, in bytes, are asked for one by one: single answers say their length, and where few are
/// under way at once, the connections are all warm.
const LARGEST_IN_STREAM: u64 = 8 << 20;
/// A stream counts as so many single requests.
const STREAM: usize = 4;
/// What is to be under way at once, in bytes: what 400 MB/s bring in 40 ms.
const UNDER_WAY: u64 = 16 << 20;
/// Streams that begin before the instances are known.
pub(super) const MOST_EARLY_STREAMS: usize = 8;
/// Bounds of the number of single requests at once: four connections fill a line whatever the instances, and more than 64 give
/// the server more work than the line.
const PLACES: RangeInclusive<usize> = 4..=64;
/// What an instance is taken for as long as nobody knows, in bytes: a CT image.
const UNKNOWN_SIZE: u64 = 512 << 10;

/// Whether a series with so many `instances`, of `all` in the study, is asked for as one stream. `estimate`: bytes of one of
/// them, where something is known.
pub(super) fn is_stream(instances: usize, all: usize, estimate: Option<u64>) -> bool {
    instances >= 2
        && instances as u128 * 100 <= all as u128 * LARGEST_STREAM
        && estimate.is_none_or(|bytes| bytes <= LARGEST_IN_STREAM)
}

/// Whether a study with so many series is probably one of several series of several instances each, so that their streams can
/// begin before the instances are known. Fewer would not fill the line; of more, many have few instances.
pub(super) fn are_streams(series: usize) -> bool {
    (4..=MOST_EARLY_STREAMS).contains(&series)
}

/// How many places the stream of a series with so many `instances` takes.
pub(super) fn places_of_stream(instances: usize) -> usize {
    instances.clamp(1, STREAM)
}

/// How many places there are, where instances have so many bytes on average.
pub(super) fn places(average: Option<u64>) -> usize {
    let fitting = UNDER_WAY / average.unwrap_or(UNKNOWN_SIZE).max(1);
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(*PLACES.start(), *PLACES.end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The series that become streams.
    fn streams(series: &[usize]) -> Vec<bool> {
        let all = series.iter().sum();
        series.iter().map(|instances| is_stream(*instances, all, None)).collect()
    }

    #[test]
    fn several_series_of_several_instances_are_streams() {
        assert_eq!(streams(&[100, 100, 100, 100]), [true; 4]);
        assert_eq!(streams(&[97, 103, 110, 90]), [true; 4]);
        assert_eq!(streams(&[400]), [false]);
        assert_eq!(streams(&[200, 200]), [false; 2]);
        assert_eq!(streams(&[1; 50]), [false; 50]);
        assert_eq!(streams(&[2; 50]), [true; 50]);
        // The large one would be left alone.
        assert_eq!(streams(&[900, 30, 30, 1]), [false, true, true, false]);
        assert!(!is_stream(10, 100, Some(300 << 20)));
    }

    #[test]
    fn small_instances_are_many_at_once_and_large_ones_few() {
        assert_eq!(places(None), 32);
        assert_eq!(places(Some(525_000)), 31);
        assert_eq!(places(Some(50_000)), 64);
        assert_eq!(places(Some(300 << 20)), 4);
        assert_eq!(places(Some(0)), 64);
        assert_eq!((places_of_stream(2), places_of_stream(500)), (2, 4));
    }

    proptest! {
        #[test]
        fn a_stream_never_has_most_of_the_instances(instances in 0_usize.., all in 1_usize..) {
            if is_stream(instances, all, None) {
                prop_assert!(instances >= 2 && instances <= all / 2);
            }
        }
    }
}
