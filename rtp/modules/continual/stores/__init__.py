"""Stores of real samples, each with its rule for what stays."""
