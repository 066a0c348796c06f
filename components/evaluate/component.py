"""evaluate as a KFP component."""

from fedstream.components.base import TRAIN_IMAGE, step
from kfp.dsl import Metrics, Output


@step(TRAIN_IMAGE)
def evaluate(run: str, round: int, metrics: Output[Metrics]) -> str:
    """Measure, decide whether the run goes on, and commit the round.

    Args:
        run: Name of the run.
        round: Number of the round.
        metrics: Metrics of the round, for the Kubeflow UI.
    """
    from fedstream import steps

    return steps.evaluate(run, round, metrics)
