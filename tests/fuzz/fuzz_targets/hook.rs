#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procserver_fuzz::hook(data));
