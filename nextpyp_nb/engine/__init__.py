"""Where work runs: plain tasks, on this process or on worker slots."""
