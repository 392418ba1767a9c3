//! An address that is understood is written so that it is understood again.
#![no_main]

use bifrost_drivers::modbus::Address;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
});
