"""Sluice runs Terraform, OpenTofu and scripts for teams, on agents that only dial out."""

__version__ = "0.1.0"
