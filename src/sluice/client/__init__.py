"""The HTTP and WebSocket client of the server's API."""
