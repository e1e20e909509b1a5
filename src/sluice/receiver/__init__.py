"""The far side of run tasks: a service that is asked at gates, answered by rules or by Checkov."""
