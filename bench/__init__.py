"""Measures Sluice against the targets in docs/performance.md, side by side with peers."""
