//! Fault schedules.
