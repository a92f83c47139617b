"""Settings of the workers only; a section here replaces the one of all.py."""
