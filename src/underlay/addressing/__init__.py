"""The address plan, pure: which networks overlap, and what tunnels on each other leave over."""
