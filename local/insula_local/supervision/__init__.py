"""One part's life: a child process that is started, probed, watched, started again and stopped, and its output."""
