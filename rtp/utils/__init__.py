"""Helpers that know nothing about memories: checks, files, seeds, processes, pictures, tables."""
