//! Every other name of the two libraries.

include!(concat!(env!("OUT_DIR"), "/rest.rs"));
