"""Whatever decides: rules, planners, exact solutions, tuners and learners."""
