"""Policies: rules in Rego over the plan, asked at the gate `policy_check`."""
