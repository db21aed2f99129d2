"""Learners of a stream of tasks: compress, then recall, and the methods that it is compared with."""
