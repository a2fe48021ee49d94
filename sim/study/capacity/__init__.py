"""The capacity questions: how much load, how many nodes, how tight an SLA."""
