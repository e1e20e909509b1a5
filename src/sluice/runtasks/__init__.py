"""Run tasks: services of the organization's choosing that answer at gates."""
