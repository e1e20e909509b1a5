"""Knowledge of Terraform and OpenTofu: arguments, versions, plan JSON, state."""
