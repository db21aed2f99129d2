"""Commands other than Lightning's four, one file each."""
