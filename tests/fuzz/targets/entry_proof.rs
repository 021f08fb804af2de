#![no_main]

consilium_fuzz::fuzz!(entry_proof);
