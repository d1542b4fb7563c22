"""What everything stands on: the array vocabulary, errors, names, strict models, sizes and signatures."""
