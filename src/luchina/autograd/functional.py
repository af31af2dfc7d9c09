"""Derivatives of functions: Jacobians, Hessians, and the check of a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from luchina import autograd, creation
from luchina.tensor import Tensor


def _inputs(inputs: Any) -> tuple[tuple[Tensor, ...], bool]:
    single = isinstance(inputs, Tensor)
    return ((inputs,) if single else tuple(inputs)), single


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """∂func/∂inputs: for an output of shape (o…) and an input of shape (i…), a tensor of shape (o…, i…).

    Source: https://pytorch.org/docs/stable/generated/torch.autograd.functional.jacobian.html
    """
    tensors, single = _inputs(inputs)
    with autograd.enable_grad():
        leaves = tuple(t if create_graph and t.requires_grad else t.detach().requires_grad_() for t in tensors)
        output = func(*leaves)
        if not isinstance(output, Tensor):
            raise RuntimeError("jacobian of a function with several outputs is not there yet")
        rows: list[list[Tensor]] = [[] for _ in leaves]
        for element in output.reshape(-1).unbind(0):
            gradients = autograd.grad(
                element, leaves, retain_graph=True, create_graph=create_graph, allow_unused=not strict
            )
            for row, leaf, gradient in zip(rows, leaves, gradients):
                row.append(creation.zeros_like(leaf) if gradient is None else gradient)
    import luchina

    result = tuple(
        luchina.stack(row).reshape(*output.shape, *leaf.shape)
        if row
        else creation.zeros(*output.shape, *leaf.shape, dtype=leaf.dtype)
        for row, leaf in zip(rows, leaves)
    )
    return result[0] if single else result


def hessian(func: Callable[..., Any], inputs: Tensor, create_graph: bool = False, strict: bool = False) -> Tensor:
    """∂²func/∂x² of a scalar function of one tensor."""

    def slope(x: Tensor) -> Tensor:
        return autograd.grad(func(x), x, create_graph=True)[0]

    return jacobian(slope, inputs, create_graph, strict)


def vjp(func: Callable[..., Any], inputs: Any, v: Tensor | None = None, create_graph: bool = False) -> tuple:
    """(func(inputs), vᵀ J)."""
    tensors, single = _inputs(inputs)
    with autograd.enable_grad():
        leaves = tuple(t.detach().requires_grad_() for t in tensors)
        output = func(*leaves)
        gradients = autograd.grad(output, leaves, v, create_graph=create_graph, allow_unused=True)
    filled = tuple(creation.zeros_like(t) if g is None else g for t, g in zip(leaves, gradients))
    return (output if create_graph else output.detach()), (filled[0] if single else filled)


def _numerical(
    func: Callable[..., Tensor], inputs: Sequence[Tensor], which: int, cotangent: Tensor, eps: float
) -> list[float]:
    """Central differences of ⟨cotangent, func⟩ in every element of one input."""
    result = []
    base = inputs[which].detach().clone()
    flat = base.view(-1)
    for i in range(flat.numel()):
        here = flat[i].item()
        sides = []
        for step in (eps, -eps):
            flat[i] = here + step
            changed = [base if k == which else t for k, t in enumerate(inputs)]
            with autograd.no_grad():
                sides.append((func(*changed).detach() * cotangent).sum().item())
        flat[i] = here
        result.append((sides[0] - sides[1]) / (2 * eps))
    return result


def gradcheck(
    func: Callable[..., Any], inputs: Any, *, eps: float = 1e-06, atol: float = 1e-05, rtol: float = 1e-03,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
) -> bool:  # fmt: skip
    """Whether ``func``'s gradient agrees with central differences in float64.

    Results are the same run after run, so any ``nondet_tol`` is met; absent cotangents are zeros before a derivative
    sees them, so ``check_undefined_grad`` has nothing to find.

    Source: https://pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
    """
    tensors, _ = _inputs(inputs)
    output = func(*tensors)
    outputs = output if isinstance(output, tuple) else (output,)
    for number, out in enumerate(outputs):
        if not isinstance(out, Tensor) or not out.requires_grad:
            continue

        def one(*args: Tensor, number: int = number) -> Tensor:
            result = func(*args)
            return result[number] if isinstance(result, tuple) else result

        cotangent = creation.tensor([((7 * i + 3) % 11 - 5) / 3 for i in range(out.numel())], dtype=out.dtype)
        cotangent = cotangent.reshape(out.shape)
        asked = [i for i, t in enumerate(tensors) if isinstance(t, Tensor) and t.requires_grad]
        found = autograd.grad(out, [tensors[i] for i in asked], cotangent, retain_graph=True, allow_unused=True)
        for i, gradient in zip(asked, found):
            expected = creation.tensor(_numerical(one, tensors, i, cotangent, eps), dtype=out.dtype).reshape(
                tensors[i].shape
            )
            actual = creation.zeros_like(expected) if gradient is None else gradient.detach()
            if not actual.isclose(expected, rtol, atol).all().item():
                if raise_exception:
                    raise RuntimeError(
                        f"Jacobian mismatch for output {number} with respect to input {i},\nnumerical:{expected}\n"
                        f"analytical:{actual}\n"
                    )
                return False
    return True


def gradgradcheck(func: Callable[..., Any], inputs: Any, **options: Any) -> bool:
    """``gradcheck`` of the gradient of ``func``."""
    tensors, _ = _inputs(inputs)

    def slope(*args: Tensor) -> tuple:
        asked = [t for t in args if isinstance(t, Tensor) and t.requires_grad]
        with autograd.enable_grad():
            leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in args]
            output = func(*leaves)
            weights = creation.tensor([((5 * i + 2) % 7 - 3) / 2 for i in range(output.numel())], dtype=output.dtype)
            del asked
            return autograd.grad(output, leaves, weights.reshape(output.shape), create_graph=True, allow_unused=False)

    return gradcheck(slope, tensors, **options)
