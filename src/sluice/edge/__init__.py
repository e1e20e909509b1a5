"""The HTTP edge: problem details, guards, body caps, metrics."""
