//! Rows in the order of the lanes that they belong to, and how stored ones get there.

use super::pages::{RowPages, RowRef};
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Numbers of rows in the order of their lanes, those of one lane in the order of the rows. Its
/// buffers are kept from one batch of rows to the next.
#[derive(Debug, Default)]
pub struct LaneOrder {
    order: Vec<u32>,
    ends: Vec<usize>,
    of_row: Vec<u16>,
}

impl LaneOrder {
    /// The order of rows of which `of_row` says the lane, one of `lanes`.
    pub fn of(lanes: usize, of_row: impl Iterator<Item = usize>) -> Self {
        let mut order = LaneOrder::default();
        order.sort(lanes, of_row);
        order
    }

    /// Makes it that of other rows.
    pub fn sort(&mut self, lanes: usize, of_row: impl Iterator<Item = usize>) {
        self.of_row.clear();
        // Row pages have fewer lanes than that.
        self.of_row.extend(of_row.map(|lane| lane as u16));
        self.ends.clear();
        self.ends.resize(lanes, 0);
        self.of_row.iter().for_each(|&lane| self.ends[usize::from(lane)] += 1);
        let mut end = 0;
        // From counts to where each lane begins; placing the rows moves them to its end.
        for count in &mut self.ends {
            end += std::mem::replace(count, end);
        }
        self.order.clear();
        self.order.resize(self.of_row.len(), 0);
        for (row, &lane) in (0..).zip(&self.of_row) {
            let place = &mut self.ends[usize::from(lane)];
            self.order[*place] = row;
            *place += 1;
        }
    }

    /// The numbers of the rows.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Where each lane ends in the order.
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// What the rows have, in their order.
    pub fn pick<T: Copy>(&self, of_row: &[T]) -> Vec<T> {
        self.order.iter().map(|&row| of_row[row as usize]).collect()
    }
}

impl RowPages {
    /// [`RowPages::append_rows`] for rows in the order of lanes: lane `l` gets those before
    /// `ends[l]` that no lane before it got.
    ///
    /// # Errors
    /// As [`RowPages::append_rows`]; `Internal` when there are other lanes.
    pub fn append_rows_by_lane(
        &mut self,
        from: &RowPages,
        rows: &[RowRef],
        ends: &[usize],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<usize> {
        if ends.len() != self.lanes() {
            return Err(Error::internal(format!("{} lanes for {}", ends.len(), self.lanes())));
        }
        let mut done = 0;
        for (lane, &end) in ends.iter().enumerate() {
            let Some(own) = rows.get(done..end).filter(|own| !own.is_empty()) else { continue };
            done += self.append_rows(from, own, lane, memory, refs)?;
            if done < end {
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Int64Array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::batch::Column;
    use crate::memory::Governor;
    use crate::memory::rows::{FIRST_PAGE_BYTES, RowLayout};

    #[test]
    fn rows_go_to_their_lanes_in_order_and_stop_where_memory_ends() {
        let governor = Governor::unlimited();
        let mut memory = governor.reserve("rows", 0).expect("opens");
        let layout = Arc::new(RowLayout::new(&[DataType::Int64], &[]).expect("is one"));
        let values = Column::flat(DataType::Int64, Arc::new(Int64Array::from_iter(0..5000)));
        let mut from = RowPages::new(layout.clone(), 0);
        let (all, mut refs): (Vec<u32>, Vec<RowRef>) = ((0..5000).collect(), Vec::new());
        from.append(&[&values], &all, &mut memory, &mut refs).expect("stores");
        let lane_of = |row: usize| [3, 0, 3, 1][row % 4];
        let order = LaneOrder::of(5, (0..5000).map(lane_of));
        assert_eq!(order.ends(), [1250, 2500, 2500, 5000, 5000]);
        let sorted = order.pick(&refs);
        let limit = Some(5 * FIRST_PAGE_BYTES);
        let options = crate::memory::GovernorOptions { limit_bytes: limit, ..Default::default() };
        let mut little = Governor::new(options).reserve("little", 0).expect("opens");
        let (mut start, mut found) = (0, vec![Vec::new(); 5]);
        while start < 5000 {
            let mut lanes = RowPages::with_lanes(layout.clone(), 0, 5);
            let ends: Vec<usize> = order.ends().iter().map(|e| e.saturating_sub(start)).collect();
            let mut stored = Vec::new();
            let rows = &sorted[start..];
            let done = lanes.append_rows_by_lane(&from, rows, &ends, &mut little, &mut stored);
            let done = done.expect("stores");
            assert!(done == stored.len() && (1..=4 * 256).contains(&done), "{done}");
            start += done;
            little.shrink(lanes.bytes());
            for (lane, pages) in lanes.into_lanes().iter().enumerate() {
                let refs: Vec<RowRef> = pages.refs().collect();
                let values = pages.gather(0, &refs).expect("gathers");
                let values = values.as_any().downcast_ref::<Int64Array>().expect("numbers");
                found[lane].extend(values.iter().flatten());
            }
        }
        for (lane, found) in found.iter().enumerate() {
            let expected: Vec<i64> =
                (0..5000).filter(|&row| lane_of(row as usize) == lane).collect();
            assert_eq!(found, &expected, "lane {lane}");
        }
    }
}
