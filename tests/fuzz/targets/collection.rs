#![no_main]

consilium_fuzz::fuzz!(collection);
