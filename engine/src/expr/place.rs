//! Which of the values of a group, in their order, an aggregate gives.

use super::calls::OrderedKind;

/// Between which values a result is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// How many values are before each of the two; the same where the result is a value.
    pub ranks: [u64; 2],
    /// The part of the way from the first to the second.
    pub part: f64,
}

impl Place {
    /// Where the result of an aggregate of `count` values is; `None` when it is none of them.
    pub fn of(kind: &OrderedKind, count: u64) -> Option<Place> {
        let last = count.checked_sub(1)?;
        let exactly = |rank: u64| Place { ranks: [rank, rank], part: 0.0 };
        match *kind {
            OrderedKind::PercentileCont { fraction } => {
                let at = fraction * last as f64;
                let (low, high) = (at.floor() as u64, at.ceil() as u64);
                Some(Place { ranks: [low.min(last), high.min(last)], part: at - at.floor() })
            }
            OrderedKind::PercentileDisc { fraction } => {
                let rank = (fraction * count as f64).ceil() as u64;
                Some(exactly(rank.saturating_sub(1).min(last)))
            }
            OrderedKind::Nth { position } => {
                let rank = match position {
                    1.. => position as u64 - 1,
                    _ => count.checked_sub(position.unsigned_abs())?,
                };
                (rank < count).then(|| exactly(rank))
            }
            OrderedKind::Collect | OrderedKind::Concat { .. } => None,
        }
    }
}

/// What is at a part of the way from one number to a greater one. From minus infinity no part of
/// the way leads away, but to infinity it is not a number.
pub fn between(low: f64, high: f64, part: f64) -> f64 {
    let stays = part == 0.0 || low == high || low == f64::NEG_INFINITY && high.is_finite();
    let way = high - low;
    match (stays, way.is_infinite() && low.is_finite() && high.is_finite()) {
        (true, _) => low,
        (false, false) => low + way * part,
        // The way is longer than any number.
        (false, true) => low * (1.0 - part) + high * part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_numbers_far_apart_has_a_middle() {
        assert_eq!(between(-1.7e308, 1.7e308, 0.5), 0.0);
        assert_eq!(between(1.0, 3.0, 0.25), 1.5);
        assert_eq!(between(f64::NEG_INFINITY, 1.0, 0.5), f64::NEG_INFINITY);
        assert_eq!(between(-1.0, f64::INFINITY, 0.5), f64::INFINITY);
        assert!(between(f64::NEG_INFINITY, f64::INFINITY, 0.5).is_nan());
    }

    #[test]
    fn ranks_of_percentiles_and_positions() {
        let cont = |fraction, count| Place::of(&OrderedKind::PercentileCont { fraction }, count);
        assert_eq!(cont(0.5, 0), None);
        assert_eq!(cont(0.5, 1), Some(Place { ranks: [0, 0], part: 0.0 }));
        assert_eq!(cont(0.5, 4), Some(Place { ranks: [1, 2], part: 0.5 }));
        assert_eq!(cont(1.0, 4), Some(Place { ranks: [3, 3], part: 0.0 }));
        let rank = |kind, count| Place::of(&kind, count).map(|place| place.ranks[0]);
        let disc = |fraction, count| rank(OrderedKind::PercentileDisc { fraction }, count);
        assert_eq!([disc(0.0, 4), disc(0.5, 4), disc(0.51, 4)], [Some(0), Some(1), Some(2)]);
        let nth = |position, count| rank(OrderedKind::Nth { position }, count);
        assert_eq!([nth(1, 3), nth(3, 3), nth(4, 3)], [Some(0), Some(2), None]);
        assert_eq!([nth(-1, 3), nth(-3, 3), nth(-4, 3)], [Some(2), Some(0), None]);
    }
}
