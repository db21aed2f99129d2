"""The inner loop and its derivative (algorithm 1, lines 6 to 15)."""
