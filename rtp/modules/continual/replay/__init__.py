"""Learners that train on stored samples."""
