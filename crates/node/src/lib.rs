//! Part of Millpond.
