#![no_main]

consilium_fuzz::fuzz!(checkpoint);
