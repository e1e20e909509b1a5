output "vpc_id" {
  description = "The network."
  value       = aws_vpc.main.id
}

output "subnet_ids" {
  description = "The subnets by zone."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "bucket" {
  description = "Where files go."
  value       = aws_s3_bucket.files.bucket
}

output "queue_url" {
  description = "Where work waits."
  value       = aws_sqs_queue.work.url
}
