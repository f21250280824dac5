"""What a service tells its operators: metrics and log lines."""
