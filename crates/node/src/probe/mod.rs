//! What this machine has and what it can do; every capability is probed by doing it.
