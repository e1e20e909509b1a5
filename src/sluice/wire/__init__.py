"""What travels between server, agent and client, as data and pure rules."""
