"""Immutable objects, in a directory or a bucket."""
