"""Submit a run to Kubeflow Pipelines from the command line, follow it, and find out why it fails or waits."""
