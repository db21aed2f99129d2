"""What a memory is worth: networks retrained on recalled images, and the baselines beside them."""
