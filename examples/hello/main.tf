# A first configuration: nothing but what terraform itself brings, so it needs no provider, no
# network and no account. An apply takes about six seconds and prints a line every now and then.

terraform {
  required_version = ">= 1.4"
}

locals {
  greetings = [for name in var.names : "Hello, ${name}!"]
}

resource "terraform_data" "greeting" {
  for_each = toset(var.names)

  input = {
    text  = "Hello, ${each.key}!"
    badge = sha256("${each.key}:${var.badge_secret}")
  }

  provisioner "local-exec" {
    command     = <<-SHELL
      for step in 1 2 3; do
        echo "$WHO: step $step of 3"
        sleep ${var.pause_seconds}
      done
      echo "$WHO: done"
    SHELL
    environment = { WHO = each.key }
    quiet       = true
  }
}

resource "terraform_data" "letter" {
  input = join("\n", local.greetings)

  # written anew whenever somebody joins or leaves
  triggers_replace = sort(var.names)

  provisioner "local-exec" {
    command     = <<-SHELL
      printf 'Writing a letter to %s\n' "$COUNT people"
      for page in 1 2 3 4; do
        printf '\033[36mpage %s\033[0m of 4\n' "$page"
        sleep ${var.pause_seconds}
      done
    SHELL
    environment = { COUNT = length(var.names) }
    quiet       = true
  }

  depends_on = [terraform_data.greeting]
}

resource "terraform_data" "stamp" {
  input = {
    letter = terraform_data.letter.id
    pages  = 4
  }

  provisioner "local-exec" {
    command = "echo 'Stamped and sent.'"
    quiet   = true
  }
}
