"""Contractions: one template for matrix products, convolutions and their gradients, with a fused epilogue.

``dot``, ``conv2d``, ``conv2d_input`` and ``conv2d_weight`` turn one primitive of ``prims`` into kernel calls.

* Operands are ``Window``s: nothing is copied before a kernel reads it.
* ``outs`` are one window for each output of the epilogue's body (one window without an epilogue).
* ``temporary(nbytes) -> slot`` is asked for memory between the calls (partial sums of a divided K); the entry must be
  alive from the first call to the last.
"""

from luchina.compiler.contraction.conv import conv2d, conv2d_input, conv2d_weight
from luchina.compiler.contraction.gemm import dot
from luchina.compiler.contraction.interface import Call, Epilogue, Slots, Window

__all__ = ["Call", "Epilogue", "Slots", "Window", "conv2d", "conv2d_input", "conv2d_weight", "dot"]
