"""What is particular to a kind of device: how a kernel of the CPU's form becomes one that the device can start."""
