"""In-memory twins and helpers for tests; shipped and documented."""
