"""State versions: serial and lineage checked, encrypted at rest."""
