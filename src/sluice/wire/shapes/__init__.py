"""The JSON shapes of the public API (`/api/v1`), shared by the server's routes and the client."""
