"""Many workloads in one call, through a whole stack."""
