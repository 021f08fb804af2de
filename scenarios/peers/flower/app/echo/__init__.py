"""A Flower app that moves weights and trains nothing."""
