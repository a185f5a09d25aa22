"""What an operator does by hand, on top of the services: look at dead letters and put repaired ones back."""
