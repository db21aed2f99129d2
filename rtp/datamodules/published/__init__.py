"""The data sets of the paper, one file each, and Digits."""
