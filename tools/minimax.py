"""Derives the polynomials of the vector mathematics; its output is ``src/luchina/compiler/vecmath/coefficients.py``.

Each is a weighted minimax polynomial found by Remez's exchange in 60 digits. "short" is what float32 needs (a relative
error of the function below 2^-29 or so), "long" what float64 needs (below 2^-55); the error reached stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


def remez(f: Function, weight: Function, a: mp.mpf, b: mp.mpf, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients (constant first) of the polynomial that has the least max of |weight * (p - f)| on [a, b]."""
    n = degree + 2
    middle, half = (a + b) / 2, (b - a) / 2
    points = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    grid = [middle - half * mp.cos(mp.pi * i / (16 * n)) for i in range(16 * n + 1)]
    grid[0], grid[-1] = a + (b - a) / 10**12, b - (b - a) / 10**12
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    for _ in range(12):
        rows = mp.matrix(n, n)
        right = mp.matrix(n, 1)
        for i, x in enumerate(points):
            for j in range(degree + 1):
                rows[i, j] = ((x - middle) / half) ** j
            rows[i, degree + 1] = (-1) ** i / weight(x)
            right[i] = f(x)
        solution = mp.lu_solve(rows, right)
        scaled = list(solution)[: degree + 1]
        errors = [
            w * (mp.polyval(scaled[::-1], (x - middle) / half) - v)
            for x, v, w in zip(grid, values, weights, strict=True)
        ]
        best: list[int] = []  # the extreme point of every run of equal signs
        for i, error in enumerate(errors):
            if best and (errors[best[-1]] > 0) == (error > 0):
                best[-1] = i if abs(error) > abs(errors[best[-1]]) else best[-1]
            else:
                best.append(i)
        while len(best) > n:
            best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
        worst = max(map(abs, errors))
        if len(best) < n or worst < abs(solution[degree + 1]) * mp.mpf("1.01"):
            break
        points = [grid[i] for i in best]
    coefficients = [mp.mpf(0)] * (degree + 1)  # back from the scaled variable
    for j, c in enumerate(scaled):
        for k in range(j + 1):
            coefficients[k] += c * mp.binomial(j, k) * (-middle) ** (j - k) / half**j
    return coefficients, worst


def of_square(f: Function) -> Function:
    """A function of t = x² from one of x."""
    return lambda t: f(mp.sqrt(t))


def erfcx(x: mp.mpf) -> mp.mpf:
    return mp.erfc(x) * mp.exp(x * x)


LN2_2 = mp.log(2) / 2
ROOT, S = mp.sqrt(2), (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
QUARTER = (mp.pi / 4) ** 2 * mp.mpf("1.0001")
T8 = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.0001")
CENTRE = mp.mpf(4)  # erfc's variable is (x - 4) / (x + 4)


def unmap(t: mp.mpf) -> mp.mpf:
    return CENTRE * (1 + t) / (1 - t)


def erfc_factor(t: mp.mpf) -> mp.mpf:
    """What is left of erfc(a) without e^(-a²) / (2a + 1)."""
    a = unmap(t)
    return erfcx(a) * (2 * a + 1)


def erfinv_factor(s: mp.mpf) -> mp.mpf:
    """erfinv(y) / y as a function of s = √-log(1 - y²), by Newton's method."""
    y = mp.sqrt(-mp.expm1(-s * s))
    rest = mp.exp(-s * s) / (1 + y)  # 1 - y
    x = y * mp.sqrt(mp.pi) / 2 if s < 1 else s * mp.mpf("0.9")
    for _ in range(100):
        slope = 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)
        complement = mp.erfc(x)
        step = (mp.erf(x) - y) / slope if s < 1 else mp.log(rest / complement) * complement / slope
        x -= step
        if abs(step) < mp.mpf(10) ** -45 * x:
            break
    return x / y


# name: the function that the polynomial stands for, its weight, its interval, the degree for float32 and for float64
TABLE: dict[str, tuple[Function, Function, mp.mpf, mp.mpf, int | None, int | None]] = {
    "exp": (lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / abs(mp.expm1(r)), -LN2_2, LN2_2, 5, 10),
    "log": (
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda f: f**2 / abs(mp.log1p(f)),
        1 / ROOT - 1,
        ROOT - 1,
        9,
        None,
    ),
    "atanh": (
        of_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3),
        of_square(lambda s: s**3 / (2 * mp.atanh(s))),
        mp.mpf(0),
        S**2 * mp.mpf("1.0001"),
        3,
        6,
    ),
    "log_power": (  # what log needs beyond 2s + 2/3 s³, for results of twice the digits
        of_square(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5),
        of_square(lambda s: s**5 / (2 * mp.atanh(s))),
        mp.mpf(0),
        S**2 * mp.mpf("1.0001"),
        None,
        7,
    ),
    "sin": (
        of_square(lambda r: (mp.sin(r) - r) / r**3),
        of_square(lambda r: r**3 / mp.sin(r)),
        mp.mpf(0),
        QUARTER,
        3,
        5,
    ),
    "cos": (
        of_square(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4),
        of_square(lambda r: r**4 / mp.cos(r)),
        mp.mpf(0),
        QUARTER,
        2,
        5,
    ),
    "tanh": (
        of_square(lambda z: (mp.tanh(z) - z) / z**3),
        of_square(lambda z: z**3 / mp.tanh(z)),
        mp.mpf(0),
        mp.mpf("0.391"),
        5,
        10,
    ),
    "atan": (
        of_square(lambda z: (mp.atan(z) - z) / z**3),
        of_square(lambda z: z**3 / mp.atan(z)),
        mp.mpf(0),
        T8,
        5,
        10,
    ),
    "asin": (
        of_square(lambda z: (mp.asin(z) - z) / z**3),
        of_square(lambda z: z**3 / mp.asin(z)),
        mp.mpf(0),
        mp.mpf("0.25"),
        5,
        12,
    ),
    "erf": (
        of_square(lambda x: mp.erf(x) / x - 1),
        of_square(lambda x: x / mp.erf(x)),
        mp.mpf(0),
        mp.mpf(1),
        6,
        11,
    ),
    "erf_exponent": (
        lambda a: -mp.log(mp.erfc(a)) / a - 1,
        lambda a: mp.erfc(a) * a / mp.erf(a),
        mp.mpf("1e-9"),
        mp.mpf(4),
        8,
        None,
    ),
    "normal_tail": (  # erfc(a / √2) / 2 = e^(-a·P(a)) / 2: its absolute error counts
        lambda a: -mp.log(mp.erfc(a / ROOT)) / a,
        lambda a: mp.erfc(a / ROOT) * a / 2,
        mp.mpf("1e-9"),
        mp.mpf("5.6"),
        7,
        None,
    ),
    "erfc": (erfc_factor, lambda t: 1 / erfc_factor(t), mp.mpf(-0.78), mp.mpf(0.76), 12, 22),
    # For float64 erfinv is corrected after these: shorter polynomials do.
    "erfinv": (
        lambda u: erfinv_factor(mp.sqrt(3.125 * (1 + u))),
        lambda u: 1 / erfinv_factor(mp.sqrt(3.125 * (1 + u))),
        mp.mpf("-0.9999999"),
        mp.mpf(1),
        12,
        9,
    ),
    "erfinv_tail": (
        lambda u: erfinv_factor(mp.mpf("4.3") + mp.mpf("1.8") * u),
        lambda u: 1 / erfinv_factor(mp.mpf("4.3") + mp.mpf("1.8") * u),
        mp.mpf(-1),
        mp.mpf(1),
        14,
        10,
    ),
}


def main() -> None:
    print('"""Minimax polynomials, constant term first; written by tools/minimax.py, which says of what."""\n')
    for length, title in ((4, "SHORT"), (5, "LONG")):
        print(f"{title}: dict[str, tuple[float, ...]] = {{")
        for name, row in TABLE.items():
            if row[length] is None:
                continue
            coefficients, error = remez(*row[:4], row[length])
            print(f'    "{name}": (  # error 2^{float(mp.log(error, 2)):.1f}')
            for c in coefficients:
                print(f"        {float(c)!r},")
            print("    ),")
        print("}\n" if title == "SHORT" else "}")


if __name__ == "__main__":
    main()
