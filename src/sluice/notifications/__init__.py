"""People and services are told of what tasks do: webhooks, Slack messages, e-mail."""
