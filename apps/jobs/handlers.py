"""What happens when jobs, or the cluster, announce something."""
