"""The agent: pulls phases, runs them in processes of their own, uploads."""
