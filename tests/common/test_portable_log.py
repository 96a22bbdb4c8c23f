import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.common.portable_log import portable_log


def log_exactly(x: float) -> Fraction:
    """The logarithm to about 2**-120, by rational arithmetic: log(m 2**k) = 2 atanh((m - 1) / (m + 1)) + k log 2."""

    def twice_atanh(s: Fraction) -> Fraction:
        total, power = Fraction(0), s
        for term in range(1, 81, 2):
            total += power / term
            power = Fraction(round(power * s * s * 2**160), 2**160)
        return 2 * total

    mantissa, exponent = math.frexp(x)
    if mantissa < math.sqrt(0.5):
        mantissa, exponent = 2 * mantissa, exponent - 1
    m = Fraction(mantissa)
    return twice_atanh((m - 1) / (m + 1)) + exponent * twice_atanh(Fraction(1, 3))


@given(
    st.one_of(
        st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        st.floats(0.5, 2.0),
        st.floats(1 - 1e-6, 1 + 1e-6),
    )
)
def test_error_is_below_one_unit_in_the_last_place(x):
    exact = log_exactly(x)
    (result,) = portable_log(np.array([x]))
    assert abs(Fraction(float(result)) - exact) <= Fraction(math.ulp(float(exact)))


def test_it_is_the_logarithm_of_the_c_library_within_two_units():
    generator = np.random.default_rng(0)
    x = np.concatenate([generator.random(10_000), np.exp(generator.uniform(-745, 709, 10_000))])
    expected = np.log(x)
    assert (np.abs(portable_log(x) - expected) <= 2 * np.spacing(np.abs(expected))).all()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (1.0, 0.0),
        (0.0, -np.inf),
        (-0.0, -np.inf),
        (np.inf, np.inf),
        (-1.0, np.nan),
        (-np.inf, np.nan),
        (np.nan, np.nan),
        (sys.float_info.min, -708.3964185322641),
        (5e-324, -744.4400719213812),
        (sys.float_info.max, 709.782712893384),
    ],
)
def test_special_values(x, expected):
    np.testing.assert_array_equal(portable_log(np.array([x])), [expected])


def test_these_bits_never_change():
    x = np.array([0.1, 0.7, 0.99, 1.01, 1.5, 3.0, 1e-8, 123456.789])
    assert [value.hex() for value in portable_log(x).tolist()] == [
        "-0x1.26bb1bbb55515p+1",
        "-0x1.6d3c324e13f50p-2",
        "-0x1.495453e6fd4bcp-7",
        "0x1.460d6ccca367cp-7",
        "0x1.9f323ecbf984cp-2",
        "0x1.193ea7aad030ap+0",
        "-0x1.26bb1bbb55516p+4",
        "0x1.77281cad8a844p+3",
    ]


def test_shape_is_kept():
    assert portable_log(np.ones((2, 0, 3))).shape == (2, 0, 3)
    assert portable_log(np.full((2, 3), 2.0)).shape == (2, 3)
