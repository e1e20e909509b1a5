"""The sluice command for people."""
