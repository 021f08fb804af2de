#![no_main]

consilium_fuzz::fuzz!(query);
