//! First come, first served: the place in line decides and nothing else.
//!
//! With `backfill: none` the head blocks everybody behind it; with `easy` this is EASY backfill (Lifka, "The ANL/IBM SP
//! scheduling system", JSSPP 1995), with `conservative` that of Mu'alem and Feitelson (IEEE TPDS 2001).
//!
//! Where not to use it: where short work must not wait behind long work and somebody knows which is which.

use super::Rank;

/// The same for everybody.
pub const fn rank() -> Rank {
    Rank { level: 0, key: 0 }
}
