"""Learners that project gradients so that stored samples are not forgotten."""
