"""Neural networks of learners: layers, and features on the graph of nodes and lanes."""
