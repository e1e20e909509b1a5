"""Costs: what a plan costs a month by a price file, asked at the gate `cost_estimation`."""
