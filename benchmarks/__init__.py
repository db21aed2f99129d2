"""How fast rtp is on this machine: `python -m benchmarks [--quick]`, or `make bench`."""
