"""Accuracy of each representation, measured: click logs read, models trained, scores written into the model file."""
