"""The natural logarithm from IEEE basic operations only: the same bits on every processor.

`numpy.log` and the C library's logarithm may differ in the last bit between processors and versions. Addition,
subtraction, multiplication and division are exactly specified by IEEE 754, and so is a fixed sequence of them.
"""

import numpy as np
import numpy.typing as npt

# ln 2 in two parts: the first ends in 21 zero bits, so that its product with any exponent of a float64 is exact.
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
# With |s| <= 0.1716 the first term left out, 2 s**24 / 25, is below 2**-64.
_NUM_TERMS = 11


def portable_log(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Natural logarithm.

    With `x = m 2**k` and `m` in [sqrt(1/2), sqrt(2)), `f = m - 1` (exact) and `s = f / (2 + f)`:
    `log(x) = k ln 2 + 2 atanh(s)`, and `2 atanh(s) = f - (f**2 / 2 - s (f**2 / 2 + R))` with
    `R = 2 (s**2 / 3 + s**4 / 5 + ...)`.

    Args:
        x: float64 array of any shape.

    Returns:
        float64 array of the same shape, within one unit in the last place; exactly 0 at 1, -inf at 0, inf at inf,
        nan for negative numbers and nan.
    """
    x = np.asarray(x, np.float64)
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    f = np.where(low, 2.0 * mantissa, mantissa) - 1.0
    k = (exponent - low).astype(np.float64)
    with np.errstate(all="ignore"):  # zero, infinity and negative numbers are set below
        s = f / (2.0 + f)
        z = s * s
        series = np.zeros_like(z)
        for term in range(_NUM_TERMS, 0, -1):
            series = z * (series + 2.0 / (2 * term + 1))
        half_square = 0.5 * f * f
        # What is rounded most is small beside f and k ln 2, which come last.
        result = k * _LN2_HIGH - ((half_square - (s * (half_square + series) + k * _LN2_LOW)) - f)
    result = np.where(x == 0.0, -np.inf, result)
    result = np.where(x == np.inf, np.inf, result)
    return np.where((x < 0.0) | np.isnan(x), np.nan, result)
