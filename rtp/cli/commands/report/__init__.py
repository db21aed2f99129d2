"""`rtp report`: one page about a run, which needs no network and no other file."""
