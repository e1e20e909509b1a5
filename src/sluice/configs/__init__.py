"""Configuration versions: uploaded archives, checked before they are kept."""
