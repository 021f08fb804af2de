//! What no single crate can check. The tests lie in `tests/tests`, programs that must not compile in
//! `tests/must_not_compile`; this library holds the worlds that tests are played in.

pub mod sim;
