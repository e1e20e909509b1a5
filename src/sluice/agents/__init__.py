"""Pools, agents, leases and what agents report."""
