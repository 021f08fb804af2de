#![no_main]

consilium_fuzz::fuzz!(run_file);
