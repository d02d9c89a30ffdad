"""Whatever leaves a route as an error, said as a problem."""
