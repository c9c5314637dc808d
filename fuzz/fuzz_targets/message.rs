//! Any bytes as a message: what is one comes back the same.
#![no_main]

use corten_init::{MAX_MESSAGE, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let mut buffer = [0; MAX_MESSAGE];
    let length = message.encode(&mut buffer);
    let Ok(again) = Message::decode(&buffer[..length]) else { panic!("{message:?} is not read again") };
    if bytes.len() <= MAX_MESSAGE / 4 {
        assert_eq!(again, message);
    }
});
