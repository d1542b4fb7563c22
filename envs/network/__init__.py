"""Networks: what a user writes of products, nodes, lanes and customers, and the arrays that it becomes."""
