//! What no single crate can check. The tests lie in `tests/tests`, programs that must not compile in
//! `tests/must_not_compile`; this library is empty on purpose.
