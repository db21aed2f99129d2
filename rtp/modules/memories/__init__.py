"""Memories: what is learned (section 4.1), within a storage budget (equation 4)."""
