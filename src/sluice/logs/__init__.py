"""Task output: appended once, stored for good, followed by cursor."""
