"""Streams of tasks for continual learning, each made of any image data set."""
