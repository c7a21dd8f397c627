//! Connect tokens and grants, as text from any source, and as an authentic token with any payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pasetors::keys::SymmetricKey;
use pasetors::version4::{LocalToken, V4};
use rallypoint::secure::token::open;
use rallypoint::secure::{ConnectGrant, TokenKey};

fuzz_target!(|data: &[u8]| {
    // The second is that of the test vectors.
    let key: [u8; 32] = std::array::from_fn(|at| 0x70 + at as u8);
    let keys = [TokenKey::from_bytes(&[1; 32]), TokenKey::from_bytes(&key)];
    let _ = open(&keys, data);
    // Nothing behind the seal would be reached by changes of a sealed text.
    let symmetric = SymmetricKey::<V4>::from(&key).expect("32 bytes");
    if let Ok(token) = LocalToken::encrypt(&symmetric, data, None, None) {
        if let Ok(claims) = open(&keys, token.as_bytes()) {
            assert!(claims.issued < claims.expires && token.len() <= 900);
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = TokenKey::from_paserk(text);
        if let Ok(grant) = ConnectGrant::from_json(text) {
            assert!(grant.servers.iter().all(|server| ConnectGrant::is_address(server)));
            let again = ConnectGrant::from_json(&grant.to_json()).expect("what is written is read");
            assert_eq!((grant.token, grant.servers), (again.token, again.servers));
        }
    }
});
