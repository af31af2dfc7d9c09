"""What the user allows the compiler beyond exact arithmetic."""

tensor_float = False
"""Whether float32 products may be rounded to tf32 on tensor cores; ``luchina.set_float32_matmul_precision``."""
