"""One linear program of the network, for bounds, open-loop plans and a rolling horizon."""
