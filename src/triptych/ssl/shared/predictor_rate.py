"""The groups of parameters of the methods whose predictor learns at a constant rate."""

from triptych.core.objective import Objective


def constant_for_predictor(objective: Objective) -> list[dict]:
    """Optimiser groups: all that is trained, with the learning rate's schedule, and the predictor without it.

    The predictor should adapt to the latest projections (SimSiam, Chen & He 2021, section 4.2). A predictor without
    trained parameters makes no group.
    """
    predictor = [p for p in objective.network.predictor.parameters() if p.requires_grad]
    apart = {id(p) for p in predictor}
    encoder = [p for p in objective.parameters() if p.requires_grad and id(p) not in apart]
    groups = [{"params": encoder, "constant_rate": False}]
    return groups + ([{"params": predictor, "constant_rate": True}] if predictor else [])
