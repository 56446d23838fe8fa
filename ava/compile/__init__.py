"""``Plan`` → the graph: prepare · statistics of the rows · terms · reduce · schedules and state."""
