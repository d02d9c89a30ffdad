"""The routes, one resource a file; they translate between HTTP and `control.records` and decide nothing."""
