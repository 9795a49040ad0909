#![no_main]

use gapless_fuzz::Target;

const TARGET: Target = Target::Configuration;

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, room: usize, seed: u32| {
    TARGET.mutate(&mut data[..room], size, seed)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.check(data));
