"""Settings of the control-plane hosts only; a section here replaces the one of all.py."""
