variable "name" {
  description = "Begins the name of everything; the bucket's must be free worldwide on real AWS."
  type        = string
  default     = "sluice-example"
}

variable "region" {
  description = "The region."
  type        = string
  default     = "eu-central-1"
}

variable "zones" {
  description = "One subnet is made in each of these availability zones."
  type        = list(string)
  default     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
}

variable "cidr_block" {
  description = "Addresses of the network; each subnet takes 1/256 of them."
  type        = string
  default     = "10.20.0.0/16"
}

variable "aws_endpoint" {
  description = "Address of a stand-in for AWS, such as http://127.0.0.1:5000; null for AWS itself."
  type        = string
  default     = null
}
