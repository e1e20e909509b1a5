output "greetings" {
  description = "What was said."
  value       = local.greetings
}

output "letter" {
  description = "The letter as it was written."
  value       = terraform_data.letter.output
}

output "badges" {
  description = "A badge for each name; known to the state, never shown."
  value       = { for name, item in terraform_data.greeting : name => item.output.badge }
  sensitive   = true
}
