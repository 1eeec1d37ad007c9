"""Linear classification of frozen features: multinomial logistic regression, solved to its optimum.

The field's linear probe trains the same layer by SGD (learning rate 30, no weight decay, 100 epochs; He et al. 2020,
arXiv:1911.05722, section 4.1). The problem is convex, and with a small penalty its optimum is unique, so LBFGS goes
there directly: no learning rate or schedule to tune for each method, no seed, and the same answer at every run. It
deviates from the published recipe in that features are standardised by the train set, so that the penalty means the
same at any scale, and in that each train image is one fixed feature, where SGD sees a new augmentation every epoch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from triptych.ssl.collapse import in_float64

PROBE_ITERATIONS = 1000  # at most; features of an encoder reach their optimum in far fewer


def with_bias(x: Tensor) -> Tensor:
    """(N, d + 1): features and a column of ones, whose weights are the bias."""
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def logistic_loss(theta: Tensor, x: Tensor, labels: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy + penalty/2 ||weights||², the bias unpenalised, and its gradient.

    Args:
        theta: weights (d + 1, classes), the last row the bias.
        x: features (N, d + 1), the last column ones.
        labels: (N,) classes.
    """
    log_p = functional.log_softmax(x @ theta, dim=1)
    penalised = theta.clone()
    penalised[-1] = 0
    loss = functional.nll_loss(log_p, labels) + penalty / 2 * penalised.square().sum()
    residual = log_p.exp() - functional.one_hot(labels, theta.shape[1])
    return loss, x.T @ residual / len(x) + penalty * penalised


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of features (N, d).

    Attributes:
        mean, scale: (d,) of the train features.
        theta: weights of standardised features (d + 1, classes), the last row the bias.
        gradient: largest entry of the objective's gradient here, 0 at the optimum.
        iterations: of LBFGS until it stopped.
    """

    mean: Tensor
    scale: Tensor
    theta: Tensor
    gradient: float
    iterations: int

    def standardised(self, features: Tensor) -> Tensor:
        """(N, d + 1) float64: what `theta` multiplies."""
        return with_bias((in_float64(features).to(self.mean.device) - self.mean) / self.scale)

    def classes(self, features: Tensor) -> Tensor:
        """(N,) the likeliest class of each, int64."""
        return (self.standardised(features) @ self.theta).argmax(dim=1)


def feature_scale(x: Tensor) -> Tensor:
    """(d,) standard deviation of each feature (N, d), and infinity, which silences it, where it is only rounding."""
    std = x.std(dim=0, correction=0)
    # Features come from float32: a spread of its last digit would be blown up to noise of size 1.
    rounding = torch.finfo(torch.float32).eps * torch.linalg.vector_norm(x, ord=torch.inf, dim=0)
    return torch.where(std > rounding, std, torch.inf)


@torch.no_grad()
def fit_probe(
    features: Tensor, labels: Tensor, penalty: float, iterations: int = PROBE_ITERATIONS, tolerance: float = 1e-6
) -> LinearProbe:
    """The linear classifier of features (N, d) at the optimum of the penalised cross-entropy, by LBFGS in float64.

    Args:
        features: (N, d) of the train set, on the device to compute on.
        labels: (N,) classes; images of class -1 are left out.
        penalty: of the squared weights of standardised features, per image; 1/(C N) in scikit-learn's terms.
        iterations: at most; each reads all features about once.
        tolerance: LBFGS stops where no entry of the gradient exceeds it.

    Raises:
        ValueError: no image is labelled, the penalty is not positive (separable classes would have no optimum), or
            features are not finite.
    """
    if not penalty > 0:
        raise ValueError(f"penalty = {penalty} must be positive: without it separable classes have no optimum")
    x = in_float64(features)
    labels = labels.to(x.device, torch.int64)
    # A copy, even where all are labelled: changed in place below, for pixels of many images take gigabytes.
    x, labels = x[labels >= 0], labels[labels >= 0]
    if not len(x):
        raise ValueError("no image is labelled, so there is nothing to fit")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("features hold values that are not finite")

    mean, scale = x.mean(dim=0), feature_scale(x)
    x = with_bias(x.sub_(mean).div_(scale))
    shape = (x.shape[1], int(labels.max()) + 1)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # By hand rather than by autograd: features are made in inference mode, which autograd refuses.
        loss, gradient = logistic_loss(torch.from_numpy(flat).to(x.device).view(shape), x, labels, penalty)
        return float(loss), gradient.flatten().cpu().numpy()

    limits = {"maxiter": iterations, "maxfun": 2 * iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    found = minimize(objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=limits)
    theta = torch.from_numpy(found.x).to(x.device).view(shape)
    return LinearProbe(mean, scale, theta, float(np.abs(found.jac).max()), found.nit)


def linear_classes(
    features: Tensor, labels: Tensor, queries: Tensor, penalty: float, iterations: int = PROBE_ITERATIONS
) -> Tensor:
    """(N,) classes of queries (N, d) by the linear classifier of features (M, d) and labels (M,); see `fit_probe`."""
    return fit_probe(features, labels, penalty, iterations).classes(queries)
