"""Learners that look ahead: meta-learning on the stream."""
