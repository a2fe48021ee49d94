"""What is simulated: fleet, paths, mapping, router, policy, service look-up."""
