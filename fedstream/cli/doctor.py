"""The command `fedstream doctor`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from fedstream.cli.options import INTERRUPTED, ConfigMap, Json, KafkaSecret, KubeflowNamespace, PackageFile, StoreSecret
from fedstream.cli.output import err, out, print_json

if TYPE_CHECKING:
    from fedstream.doctor.checks import Finding


def doctor(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Check a Kubernetes cluster, through the kubeconfig or from inside a pod.")
    ] = False,
    namespace: Annotated[
        str,
        typer.Option(
            help="Namespace of the pipeline's pods: in multi-user Kubeflow, that of your profile.",
            show_default="Kubeflow's",
        ),
    ] = "",
    kubeflow_namespace: KubeflowNamespace = "kubeflow",
    config_map: ConfigMap = None,
    store_secret: StoreSecret = None,
    kafka_secret: KafkaSecret = None,
    package_file: PackageFile = None,
    image: Annotated[
        list[str] | None, typer.Option(help="Image to pull; can be repeated.", show_default="those of the pipeline")
    ] = None,
    placement: Annotated[
        str, typer.Option(help="Placement that must fit a node, as in `fedstream run`: JSON, or a JSON file.")
    ] = "",
    skip: Annotated[
        list[str] | None,
        typer.Option(help="Check to skip, by its first words, such as `kubeflow` or `image`; can be repeated."),
    ] = None,
    deadline: Annotated[
        int, typer.Option(min=1, help="Time limit for all checks in seconds; a large image can take minutes to pull.")
    ] = 300,
    json: Json = False,
) -> None:
    """Find out what is wrong with this machine's settings or, with --cluster, with a Kubernetes cluster.

    The exit code is 1 if anything is wrong. In a cluster, one short-lived pod pulls the images and tries the brokers
    and the bucket from inside, with the config map and the secrets of a run.

        fedstream doctor --cluster --namespace kubeflow
    """
    from fedstream.cli.options import parse_document
    from fedstream.doctor.checks import examine
    from fedstream.record.spec import parse_spec

    until = time.monotonic() + deadline
    if cluster:
        from fedstream.doctor.cluster import ClusterOptions, cluster_checks
        from fedstream.kubeflow.package import read_package, shipped_pipeline

        package = read_package(package_file or shipped_pipeline())
        names = package.names({"config_map": config_map, "store_secret": store_secret, "kafka_secret": kafka_secret})
        wanted = (
            parse_spec(
                {"run": "doctor", "model": "doctor", "placement": parse_document("placement", placement)}
            ).placement
            if placement
            else None
        )
        options = ClusterOptions(
            namespace or kubeflow_namespace,
            kubeflow_namespace,
            package,
            names,
            tuple(image or package.images),
            wanted,
            until,
            tuple(skip or ()),
        )
        checks = cluster_checks(options)
    else:
        from fedstream.doctor.machine import local_checks

        checks = local_checks()
    try:
        findings = examine(checks, until, skip or [], (lambda _: None) if json else _show)
    except KeyboardInterrupt:
        err.print("interrupted; everything was cleaned up")
        raise typer.Exit(INTERRUPTED) from None
    if json:
        print_json([finding.as_json() for finding in findings])
    raise typer.Exit(1 if any(finding.state == "fault" for finding in findings) else 0)


def _show(finding: Finding) -> None:
    """Print one line of the report."""
    colour = {"ok": "green", "fault": "bold red", "skipped": "dim"}[finding.state]
    out.print(f"[{colour}]{finding.state:7}[/]", end=" ")
    out.print(f"{finding.check}: {finding.text}", markup=False, highlight=False, soft_wrap=True)
