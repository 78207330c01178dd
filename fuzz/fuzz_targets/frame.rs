//! Frames of interactive sessions.
#![no_main]
use pond_core::frame::Frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut buffer = bytes.to_vec();
    while let Ok(Some(frame)) = Frame::take(&mut buffer) {
        let mut again = frame.to_stream();
        assert_eq!(Frame::take(&mut again), Ok(Some(frame.clone())));
        assert!(again.is_empty());
        assert_eq!(Frame::from_message(&frame.to_message()), Ok(frame));
    }
    if let Ok(frame) = Frame::from_message(bytes) {
        assert_eq!(Frame::from_message(&frame.to_message()), Ok(frame));
    }
});
