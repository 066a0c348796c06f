"""publish as a KFP component."""

from fedstream.components.base import TRAIN_IMAGE, step
from kfp.dsl import HTML, ClassificationMetrics, Model, Output


@step(TRAIN_IMAGE)
def publish(
    run: str, rounds: int, report: Output[HTML], model: Output[Model], confusion: Output[ClassificationMetrics]
) -> int:
    """Publish the best global model and return its version.

    Returns 0 when the run is not finished, or when its model is not to be published.

    Args:
        run: Name of the run.
        rounds: Training rounds in all.
        report: HTML report of the run.
        model: The published model's metadata.
        confusion: Confusion matrix of the last measurement.
    """
    from fedstream import steps

    return steps.publish(run, rounds, report.path, model, confusion)
