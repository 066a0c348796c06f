"""Kubeflow Pipelines and Kubernetes, seen from a command line: submit a run, follow it, and find out what is wrong with a cluster."""
