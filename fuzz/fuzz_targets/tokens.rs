//! Connect tokens and grants, as text from any source.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rallypoint::secure::token::open;
use rallypoint::secure::{ConnectGrant, TokenKey};

fuzz_target!(|data: &[u8]| {
    // The key of the test vectors, so that mutations of valid tokens begin close to being accepted.
    let key: [u8; 32] = std::array::from_fn(|at| 0x70 + at as u8);
    let keys = [TokenKey::from_bytes(&[1; 32]), TokenKey::from_bytes(&key)];
    let _ = open(&keys, data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = TokenKey::from_paserk(text);
        if let Ok(grant) = ConnectGrant::from_json(text) {
            let again = ConnectGrant::from_json(&grant.to_json()).expect("what is written is read");
            assert_eq!((grant.token, grant.servers), (again.token, again.servers));
        }
    }
});
