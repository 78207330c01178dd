//! First come, first served over all queues, after class and priority. Where not to use it: with users who compete.

/// The queue that holds the one line of all, while there is somebody in it.
pub fn next(live: &[u32]) -> Option<usize> {
    live.first().is_some_and(|count| *count > 0).then_some(0)
}
