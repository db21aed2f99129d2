"""Learners that regularise training in place of storing samples to replay."""
