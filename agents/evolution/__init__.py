"""Evolution of pathwise policies: their weights are searched by CMA-ES on the simulation itself."""
