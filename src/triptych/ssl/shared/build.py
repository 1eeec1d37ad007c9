"""The methods of the third study by their names in params.yaml."""

from triptych.ssl.methods.simsiam import SimSiam
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.views import Views


def network_sizes(study: SSLParams, name: str, in_channels: int) -> dict:
    """The keyword arguments of the SiameseNetwork of a variant."""
    variant, method = study.variant(name), study.method(name)
    return {
        "in_channels": in_channels,
        "backbone": study.shared.backbone.model_dump(),
        "projector": {"hidden": method.projector_hidden, "dim": variant.projector_dim},
        "predictor": None if variant.predictor == "none" else {"hidden": method.predictor_hidden},
    }


def ssl_method(network: SiameseNetwork, study: SSLParams, name: str) -> SimSiam:
    """The objective of a variant, around its network."""
    variant = study.variant(name)
    return SimSiam(
        network,
        Views(study.shared.views),
        stop_gradient=variant.stop_gradient,
        symmetric=variant.symmetric,
        train_predictor=variant.predictor == "mlp",
    )
