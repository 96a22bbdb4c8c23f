import numpy as np
import pytest

from hir_transforms.mixtures.projection import Projection


def test_rows_are_centred_and_multiplied():
    projection = Projection(np.array([1.0, 2.0, 3.0]), np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]]))
    projected = projection.apply(np.array([[2.0, 4.0, 6.0], [1.0, 2.0, 3.0]], np.float32))
    np.testing.assert_array_equal(projected, np.array([[1.0, 7.0], [0.0, 0.0]], np.float32), strict=True)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="takes 3 features"):
        Projection(np.zeros(3), np.zeros((3, 2))).apply(np.zeros((4, 2), np.float32))


@pytest.mark.parametrize(("mean", "matrix"), [((3,), (2, 1)), ((3,), (3,)), ((3,), (3, 0)), ((1, 3), (3, 1))])
def test_shapes_that_do_not_fit_are_refused(mean, matrix):
    with pytest.raises(ValueError, match="do not fit"):
        Projection(np.zeros(mean), np.zeros(matrix))
