"""The pipeline on Kubeflow: compiled, and run one container a stage."""
