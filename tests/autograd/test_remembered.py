"""Backward passes that were seen before."""

from __future__ import annotations

import luchina as torch


def test_a_run_between_the_loss_and_its_gradient():
    for _ in range(3):
        b = (torch.arange(12.0) - 5.5).reshape(4, 3).clone()
        c = torch.ones(3, 4, requires_grad=True)
        (c * b.t()).sum().backward()
        kept = c[c > 0]  # asks for numbers: what is pending stays so, and is counted anew
        other = torch.ones(12, requires_grad=True).clone() * kept
        assert c.grad.tolist() == b.t().tolist()
        assert other.tolist() == [1] * 12
