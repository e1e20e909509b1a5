"""Tasks: their life, their queue, and the routes that show them."""
