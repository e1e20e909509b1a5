"""Registered scripts: what may be started by name, with which parameters, and their logs."""
