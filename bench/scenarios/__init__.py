"""One module a scenario; each has a `run` that returns its measurements."""
