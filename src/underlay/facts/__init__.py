"""What is: one module per tool, no feature known."""
