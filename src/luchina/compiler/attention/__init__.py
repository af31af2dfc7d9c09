"""Attention as one operation: softmax(scale · Q Kᵀ + mask) V in one pass over the keys, and its gradients.

Scores exist a block at a time, in scratch: memory grows with the lengths, never with their product. ``forward.py`` and
``backward.py`` are the two kernels, made of the small functions of ``parts.py``; ``plan.py`` is how they get into a
program.
"""
