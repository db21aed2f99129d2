"""Lower and upper bound: a network that remembers nothing, and one that sees everything."""
