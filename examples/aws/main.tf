# A small network with storage and a queue on AWS. With `aws_endpoint` set it runs against a
# stand-in such as moto, with no account at all:
#
#   moto_server -p 5000 &
#   sluice apply examples/aws -var aws_endpoint=http://127.0.0.1:5000

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

locals {
  stand_in = var.aws_endpoint != null
}

provider "aws" {
  region = var.region

  # a stand-in takes any credentials; without one they come from the environment as usual
  access_key = local.stand_in ? "testing" : null
  secret_key = local.stand_in ? "testing" : null

  skip_credentials_validation = local.stand_in
  skip_metadata_api_check     = local.stand_in
  skip_region_validation      = local.stand_in
  skip_requesting_account_id  = local.stand_in
  s3_use_path_style           = local.stand_in

  dynamic "endpoints" {
    for_each = local.stand_in ? [var.aws_endpoint] : []

    content {
      ec2 = endpoints.value
      s3  = endpoints.value
      sqs = endpoints.value
      sts = endpoints.value
    }
  }

  default_tags {
    tags = {
      Project = var.name
    }
  }
}

# --- network ---------------------------------------------------------------

resource "aws_vpc" "main" {
  cidr_block           = var.cidr_block
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

resource "aws_subnet" "private" {
  for_each = { for index, zone in var.zones : zone => index }

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr_block, 8, each.value)

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

# --- storage ---------------------------------------------------------------

resource "aws_s3_bucket" "files" {
  bucket        = "${var.name}-files"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "files" {
  bucket = aws_s3_bucket.files.id

  versioning_configuration {
    status = "Enabled"
  }
}

# --- queue -----------------------------------------------------------------

resource "aws_sqs_queue" "work" {
  name                       = "${var.name}-work"
  visibility_timeout_seconds = 60
  message_retention_seconds  = 4 * 24 * 3600
}
