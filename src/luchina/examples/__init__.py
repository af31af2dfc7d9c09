"""Programs to read: ordinary PyTorch-API code."""
