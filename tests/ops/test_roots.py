"""The inverse square root: what it is, its gradient where eigenvalues are equal, its kernel."""

import pytest
import torch

from graphlearn.ops.roots import inverse_root


def positive(count=5, size=3):
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size)


def symmetrised(function):
    """Gradients are those of the symmetric part."""
    return lambda matrix: function((matrix + matrix.mT) / 2)


def test_it_squares_to_the_inverse():
    matrix = positive()
    root = inverse_root(matrix)
    torch.testing.assert_close(root @ root, torch.linalg.inv(matrix))


def test_gradcheck():
    assert torch.autograd.gradcheck(symmetrised(inverse_root), positive().requires_grad_())


@pytest.mark.parametrize("values", [(2.0, 2.0, 2.0), (2.0, 2.0, 5.0), (1.0, 1.0 + 1e-12, 3.0)])
def test_equal_eigenvalues_have_a_gradient(values):
    """Where the eigenvectors' own gradient divides by zero."""
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    matrix = (q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T).unsqueeze(0)
    assert torch.autograd.gradcheck(symmetrised(inverse_root), matrix.requires_grad_())


def test_zero_on_the_kernel_with_a_finite_gradient():
    vector = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    matrix = (vector.mT @ vector).unsqueeze(0).requires_grad_()  # eigenvalues 25 and 0
    root = inverse_root(matrix)
    torch.testing.assert_close(root[0], vector.mT @ vector / 125)
    root.sum().backward()
    assert matrix.grad.isfinite().all()
    assert not inverse_root(torch.zeros(2, 3, 3)).any()
