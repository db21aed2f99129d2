"""The commands beside Lightning's four, one file each."""
