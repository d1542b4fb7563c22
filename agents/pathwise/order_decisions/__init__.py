"""Whether to order: a choice among a few orders for every lane on which orders have a fixed cost, made by the network."""
