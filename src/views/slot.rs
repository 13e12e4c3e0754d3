//! Which of a projection's views are meant: those that are read, or those that are folded beside them; and the numbers
//! of their tables or collections.
//!
//! Every fold from the first event goes into tables of a new number, a *build*, which the checkpoint names from the first
//! batch on. The numbers of the two slots are never the same: odd ones are for the views
//! that are read, even ones for those beside. After a switch the views that are read keep the number they were folded
//! under.

use testledger_projections::projection::Projection;

/// Which views.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// Those that are read.
    Shown,
    /// Those that are folded anew beside them.
    Beside,
}

impl Slot {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Shown, Self::Beside];

    /// The key of the checkpoint.
    pub(super) fn key<P: Projection>(self) -> String {
        match self {
            Self::Shown => P::NAME.to_owned(),
            Self::Beside => format!("{}.beside", P::NAME),
        }
    }

    /// The number of a new build, after all these.
    pub(super) fn next(self, used: impl IntoIterator<Item = u64>) -> u64 {
        let last = used.into_iter().max().unwrap_or(0);
        let is_odd = self == Self::Shown;
        let next = last + 1;
        if (next % 2 == 1) == is_odd { next } else { next + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_number_is_larger_than_all_and_no_other_slots() {
        assert_eq!((Slot::Shown.next([]), Slot::Beside.next([])), (1, 2));
        assert_eq!((Slot::Shown.next([1]), Slot::Beside.next([1])), (3, 2));
        assert_eq!((Slot::Shown.next([3, 2]), Slot::Beside.next([3, 2])), (5, 4));
        assert_eq!((Slot::Shown.next([4]), Slot::Beside.next([4])), (5, 6));
    }
}
