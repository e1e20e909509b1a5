"""Small wake-ups without payload: something changed, look again."""
