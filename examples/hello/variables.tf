variable "names" {
  description = "Who is greeted."
  type        = list(string)
  default     = ["Ada", "Grace", "Radia"]

  validation {
    condition     = length(var.names) > 0
    error_message = "Give at least one name."
  }
}

variable "pause_seconds" {
  description = "How long each step rests; 0 makes it quick."
  type        = number
  default     = 0.8

  validation {
    condition     = var.pause_seconds >= 0 && var.pause_seconds <= 60
    error_message = "Give between 0 and 60 seconds."
  }
}

variable "badge_secret" {
  description = "Goes into each badge; sensitive, so that it is never shown."
  type        = string
  default     = "change-me"
  sensitive   = true
}
