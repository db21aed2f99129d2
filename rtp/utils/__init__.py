"""Helpers that know nothing of memories: seeds, processes, files, pictures, tables."""
